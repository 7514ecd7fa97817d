// Messages on their way. Kept for this tab until the server says that they are stored.

import { kept } from "./dom.js";

const KEY = "tom.outbox";

export class Outbox {
  constructor() {
    const unsent = (kept.read(KEY) ?? []).filter((message) => message.state !== "stored");
    this.messages = new Map(unsent.map((message) => [message.requestId, message]));
  }

  /** Take a message; it has the same request id however often it is sent. */
  add(conversationId, text) {
    const message = { requestId: crypto.randomUUID(), conversationId, text, state: "sending", error: "" };
    this.messages.set(message.requestId, message);
    this.keep();
    return message;
  }

  get(requestId) {
    return this.messages.get(requestId);
  }

  /** Those of one conversation, oldest first, by request id. */
  of(conversationId) {
    return new Map([...this.messages].filter(([, message]) => message.conversationId === conversationId));
  }

  refuse(requestId, error) {
    Object.assign(this.messages.get(requestId), { state: "refused", error });
    this.keep();
  }

  /** The server has it; it stays in sight until its event comes. */
  stored(requestId) {
    if (!this.messages.has(requestId)) return;
    this.messages.get(requestId).state = "stored";
    this.keep();
  }

  /** It is in the transcript, or given up. */
  settle(requestId) {
    const known = this.messages.delete(requestId);
    if (known) this.keep();
    return known;
  }

  keep() {
    kept.write(KEY, this.messages.size > 0 ? [...this.messages.values()] : null);
  }
}
