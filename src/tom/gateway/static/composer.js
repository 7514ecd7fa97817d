// Where one writes. A draft belongs to its conversation and survives a reload.

import { kept } from "./dom.js";

const ELSEWHERE = ".ask, .inbox, .prompt-form, dialog"; // a key that leaves one of these does not stop the answer
const TOUCH = window.matchMedia("(pointer: coarse)");

export class Composer {
  /** `send(text, attachments)` takes the message; `stop()` ends the answer. */
  constructor({ form, field, sendButton, stopButton, send, stop }) {
    Object.assign(this, { form, field, sendButton, stopButton, send, stop });
    this.key = "tom.draft.new";
    this.running = null;
    this.menu = null;
    this.attachments = null;
    this.early = field.value; // typed before this script was there
    field.addEventListener("input", () => this.changed());
    field.addEventListener("keydown", (event) => this.pressed(event));
    stopButton.addEventListener("click", () => this.stop());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || this.running !== "running") return;
      if (!event.target.closest?.(ELSEWHERE)) this.stop();
    });
  }

  /** Offer `menu` while a command is written, and take files into `attachments`. */
  equip(menu, attachments) {
    Object.assign(this, { menu, attachments });
  }

  /** Write in another conversation. */
  turnTo(conversationId) {
    this.key = `tom.draft.${conversationId ?? "new"}`;
    this.field.value = kept.read(this.key) ?? this.early;
    this.early = "";
    this.fit();
    if (!TOUCH.matches) this.field.focus({ preventScroll: true });
  }

  /** What there is to stop: a "running" answer, one that is "waiting" for its person, or nothing (null). */
  setRunning(running) {
    if (this.running === running) return;
    this.running = running;
    if (!running && document.activeElement === this.stopButton) this.field.focus();
    this.stopButton.hidden = running === null;
  }

  /** Put a text into the message, where the caret is. */
  insert(text) {
    const { field } = this;
    field.focus();
    field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
    this.changed();
  }

  /** Empty the message. */
  clear() {
    this.field.value = "";
    kept.write(this.key, null);
    this.fit();
  }

  submit() {
    if (this.sendButton.disabled) return;
    const text = this.field.value;
    const attachments = this.attachments?.take() ?? [];
    this.clear();
    this.send(text, attachments);
  }

  pressed(event) {
    if (this.menu?.pressed(event)) {
      event.preventDefault();
      return;
    }
    const enter = event.key === "Enter" && !event.shiftKey && !event.isComposing;
    if (!enter || TOUCH.matches) return;
    event.preventDefault();
    this.submit();
  }

  changed() {
    kept.write(this.key, this.field.value);
    this.fit();
    this.menu?.update();
  }

  fit() {
    this.sendButton.disabled = this.field.value.trim() === "" || Boolean(this.attachments?.busy);
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }
}
