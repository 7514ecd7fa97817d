// The files of a conversation: pictures and texts that came with a message or with a result. They come as JSON, and
// stand in the page as a picture of a known kind or as text.

import { logIn, make, spelled } from "./dom.js";

const PICTURES = new Set(["image/png", "image/jpeg", "image/webp", "image/gif"]);
const KEPT = 40;
const LONG = 20000;
const known = new Map();

async function ask(path) {
  try {
    const answer = await fetch(path, { headers: { Accept: "application/json" } });
    if (answer.status === 401) logIn();
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** A file of a conversation, `{media_type, data}` or `{media_type, text}`; null when there is none (any more). */
function fetchFile(conversationId, file) {
  const path = `/sessions/${encodeURIComponent(conversationId)}/files/${encodeURIComponent(file)}`;
  if (!known.has(path)) {
    known.set(path, ask(path).then((found) => found ?? (known.delete(path), null)));
    if (known.size > KEPT) known.delete(known.keys().next().value);
  }
  return known.get(path);
}

/** A picture of a conversation; `missing` stands for it when it cannot be shown. */
export function picture(conversationId, file, { className, alt, missing }) {
  const image = make("img", { className, alt, hidden: true });
  fetchFile(conversationId, file).then((found) => {
    if (!found || !PICTURES.has(found.media_type)) return image.replaceWith(...missing);
    image.src = `data:${found.media_type};base64,${found.data}`;
    image.hidden = false;
    return undefined;
  });
  return image;
}

/** A text of a conversation, shown when it is opened. */
export function textFile(conversationId, file, ...label) {
  const record = make("details", { className: "text-file" }, make("summary", {}, ...label));
  record.addEventListener("toggle", async () => {
    if (!record.open || record.childElementCount > 1) return;
    const shown = make("pre", { dir: "auto", tabindex: "0", text: "…" });
    record.append(shown);
    const found = await fetchFile(conversationId, file);
    const text = found?.text ?? "This file is not there any more.";
    shown.textContent = spelled(text.length > LONG ? `${text.slice(0, LONG)}…` : text);
  });
  return record;
}
