// What goes with the next message: pictures and texts, checked and shown before they are sent.

import { make, revealed } from "./dom.js";
import { icon } from "./icons.js";

const MOST = 4;
const MIB = 1048576;
const MOST_EACH = 5 * MIB;
const MOST_TOGETHER = 11 * MIB; // a message is one frame of at most 16 MiB, and pictures travel as base64
const PICTURES = new Set(["image/png", "image/jpeg", "image/webp", "image/gif"]);
const LONG_PASTE = 8000;

const sized = (bytes) => (bytes < MIB ? `${Math.max(1, Math.round(bytes / 1024))} KB` : `${(bytes / MIB).toFixed(1)} MB`);

/** The base64 of a file, without blocking on large ones. */
function base64Of(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(String(reader.result).split(",", 2)[1] ?? ""));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}

async function textOf(file) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}

export class Attachments {
  /** `putBack(text)` writes a pasted text into the message after all; `changed()`, when there are others. */
  constructor({ root, trouble, field, dropZone, pick, chooser, putBack, changed, announce }) {
    Object.assign(this, { root, trouble, field, putBack, changed, announce });
    this.items = [];
    this.elsewhere = new Map();
    this.place = null;
    this.reading = 0;
    pick.addEventListener("click", () => chooser.click());
    chooser.addEventListener("change", () => {
      this.addFiles([...chooser.files]);
      chooser.value = "";
    });
    field.addEventListener("paste", (event) => this.pasted(event));
    dropZone.addEventListener("dragover", (event) => {
      if (![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      dropZone.classList.add("dropping");
    });
    dropZone.addEventListener("dragleave", (event) => !dropZone.contains(event.relatedTarget) && dropZone.classList.remove("dropping"));
    dropZone.addEventListener("drop", (event) => {
      dropZone.classList.remove("dropping");
      if (event.dataTransfer.files.length === 0) return;
      event.preventDefault();
      this.addFiles([...event.dataTransfer.files]);
    });
  }

  /** Write in another conversation: each keeps what is attached to its next message. */
  turnTo(conversationId) {
    if (this.place === conversationId) return;
    this.elsewhere.set(this.place, this.items);
    this.items = this.elsewhere.get(conversationId) ?? [];
    this.elsewhere.delete(conversationId);
    this.place = conversationId;
    this.complain([]);
    this.draw();
  }

  /** Whether files are still being read. */
  get busy() {
    return this.reading > 0;
  }

  /** Give the attachments away, as a message carries them. */
  take() {
    const taken = this.items.map(({ sent }) => sent);
    this.items = [];
    this.draw();
    return taken;
  }

  pasted(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) {
      event.preventDefault();
      this.addFiles(files);
      return;
    }
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (text.length <= LONG_PASTE || this.items.length >= MOST || new Blob([text]).size > MOST_EACH) return;
    event.preventDefault();
    const number = this.items.filter((item) => item.pasted).length + 1;
    const name = `pasted-text${number > 1 ? `-${number}` : ""}.txt`;
    this.add({ size: new Blob([text]).size, pasted: true, sent: { type: "text", name, data: text.replaceAll("\0", "\ufffd") } });
    this.announce(`The pasted text of ${text.length} characters was attached as a file.`);
  }

  async addFiles(files) {
    this.complain([]);
    const wrong = [];
    this.reading += 1;
    this.changed();
    for (const file of files) {
      const problem = this.noRoom(file) ?? (await this.addFile(file));
      if (problem) wrong.push(problem);
    }
    this.reading -= 1;
    this.complain(wrong);
    this.changed();
  }

  noRoom(file) {
    const name = `“${revealed(file.name)}”`;
    if (this.items.length >= MOST) return `${name} was not attached: a message takes at most ${MOST} files.`;
    if (file.size > MOST_EACH) return `${name} is too large: a file may have ${sized(MOST_EACH)}.`;
    const together = this.items.reduce((sum, { size }) => sum + size, file.size);
    return together > MOST_TOGETHER ? `${name} was not attached: all files together may have ${sized(MOST_TOGETHER)}.` : null;
  }

  async addFile(file) {
    const name = (file.name || "picture").slice(0, 200);
    try {
      if (PICTURES.has(file.type)) {
        const sent = { type: "image", media_type: file.type, data: await base64Of(file), name };
        return this.add({ size: file.size, sent });
      }
      const text = await textOf(file);
      if (text === null) return `“${revealed(name)}” is neither a picture (PNG, JPEG, WebP, GIF) nor a text.`;
      if (!text.trim()) return `“${revealed(name)}” is empty.`;
      return this.add({ size: file.size, sent: { type: "text", name, data: text } });
    } catch {
      return `“${revealed(name)}” could not be read.`;
    }
  }

  add(item) {
    this.items.push(item);
    this.draw();
    return null;
  }

  remove(item) {
    this.items = this.items.filter((one) => one !== item);
    this.complain([]);
    this.draw();
    this.field.focus();
  }

  complain(sentences) {
    this.trouble.hidden = sentences.length === 0;
    this.trouble.textContent = sentences.join("\n");
  }

  draw() {
    this.root.hidden = this.items.length === 0;
    this.root.replaceChildren(...this.items.map((item) => this.chip(item)));
    this.changed();
  }

  chip(item) {
    const { sent, size } = item;
    const name = revealed(sent.name);
    const preview = sent.type === "image" ? make("img", { className: "thumb", alt: "", src: `data:${sent.media_type};base64,${sent.data}` }) : icon("text");
    const words = make("span", { className: "chip-name" }, make("bdi", { text: name }), make("span", { className: "chip-size", text: sized(size) }));
    const remove = make("button", { type: "button", className: "quiet", "aria-label": `Remove ${name}`, text: "✕", onclick: () => this.remove(item) });
    const back = item.pasted ? make("button", { type: "button", className: "quiet", text: "Put it back", "aria-label": `Put ${name} back into the message` }) : null;
    back?.addEventListener("click", () => {
      this.remove(item);
      this.putBack(sent.data);
    });
    return make("li", { className: "chip" }, preview, words, back, remove);
  }
}
