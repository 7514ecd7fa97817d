// The way of an answer to the server. What comes back says whether it counts.

import { parseSent } from "./exact.js";
import { logIn } from "./dom.js";

const PATIENCE = 20000;

async function post(path, body) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-Tom-Client": "page" },
      body,
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (answer.status === 401) logIn();
    const said = parseSent(await answer.text());
    if (answer.ok) return { ok: true, said };
    return { ok: false, code: said.error?.code ?? "", message: said.error?.message ?? "This was refused.", details: said.error?.details ?? {} };
  } catch {
    return { ok: false, code: "offline", message: "Your answer did not reach Tom. Try again.", details: {} };
  }
}

/** Allow or deny a call. `edited` is the JSON text of changed arguments: it is sent as it was typed. */
export function decide(ask, { decision, edited = null, note = "", remember = "once" }) {
  const given = { decision, arguments_digest: ask.digest };
  if (note) given.note = note;
  if (remember !== "once") given.remember = remember;
  const body = JSON.stringify(given);
  return post(
    `/approvals/${encodeURIComponent(ask.id)}`,
    edited === null ? body : `${body.slice(0, -1)},"arguments":${edited}}`,
  );
}

/** Answer a service's question: `accept` (with `content`), `decline` or `cancel`. */
export function reply(ask, outcome, content = null) {
  return post(`/elicitations/${encodeURIComponent(ask.id)}`, JSON.stringify(content === null ? { outcome } : { outcome, content }));
}

/** The errors of an answer by field: Map(name -> sentence); "" for those of the whole. */
export function errorsOf({ message, details }) {
  const found = new Map();
  for (const error of Array.isArray(details.errors) ? details.errors : []) {
    const place = error?.field ?? error?.loc ?? error?.path ?? "";
    const name = Array.isArray(place) ? place.filter((part) => part !== "body" && part !== "content").join(".") : String(place);
    const words = typeof error === "string" ? error : (error?.message ?? error?.msg ?? message);
    found.set(name, [found.get(name), words].filter(Boolean).join(" "));
  }
  if (found.size === 0) found.set("", message);
  return found;
}
