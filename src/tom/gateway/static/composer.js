// Where one writes. A draft belongs to its conversation and survives a reload.

import { kept } from "./dom.js";

const TOUCH = window.matchMedia("(pointer: coarse)");

export class Composer {
  /** `send(text)` takes the message; `stop()` ends the answer. */
  constructor({ form, field, sendButton, stopButton, send, stop }) {
    Object.assign(this, { form, field, sendButton, stopButton, send, stop });
    this.key = "tom.draft.new";
    this.running = false;
    this.early = field.value; // typed before this script was there
    field.addEventListener("input", () => this.changed());
    field.addEventListener("keydown", (event) => this.pressed(event));
    stopButton.addEventListener("click", () => this.stop());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented && !event.isComposing && this.running) this.stop();
    });
  }

  /** Write in another conversation. */
  turnTo(conversationId) {
    this.key = `tom.draft.${conversationId ?? "new"}`;
    this.field.value = kept.read(this.key) ?? this.early;
    this.early = "";
    this.fit();
    if (!TOUCH.matches) this.field.focus({ preventScroll: true });
  }

  /** Whether there is something to stop. */
  setRunning(running) {
    if (this.running === running) return;
    this.running = running;
    if (!running && document.activeElement === this.stopButton) this.field.focus();
    this.stopButton.hidden = !running;
  }

  /** Put a text back that could not be sent. */
  restore(text) {
    this.field.value = this.field.value ? `${text}\n\n${this.field.value}` : text;
    this.changed();
  }

  submit() {
    const text = this.field.value;
    if (!text.trim()) return;
    const { key } = this;
    this.field.value = "";
    this.fit();
    kept.write(key, null);
    this.send(text);
  }

  pressed(event) {
    const enter = event.key === "Enter" && !event.shiftKey && !event.isComposing;
    if (!enter || TOUCH.matches) return;
    event.preventDefault();
    this.submit();
  }

  changed() {
    kept.write(this.key, this.field.value);
    this.fit();
  }

  fit() {
    this.sendButton.disabled = this.field.value.trim() === "";
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }
}
