// Messages on their way. Kept for this tab until the server says that they are stored.

import { kept } from "./dom.js";

const KEY = "tom.outbox";
const MOST_KEPT = 1000000;
const LOST = "What was attached did not survive the reload. Write it again with its attachments.";

export class Outbox {
  constructor() {
    const unsent = (kept.read(KEY) ?? []).filter((message) => message.state !== "stored");
    for (const message of unsent) if (message.lost) Object.assign(message, { state: "refused", error: LOST, attachments: [] });
    this.messages = new Map(unsent.map((message) => [message.requestId, message]));
  }

  /** Take a message; it has the same request id however often it is sent. */
  add(conversationId, text, { attachments = [], prompt = null } = {}) {
    const message = { requestId: crypto.randomUUID(), conversationId, text, attachments, prompt, state: "sending", error: "" };
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
    kept.write(KEY, this.messages.size > 0 ? [...this.messages.values()].map(smaller) : null);
  }
}

/** The message as it fits the storage of a tab: large attachments are kept in memory only. */
function smaller(message) {
  const size = message.attachments.reduce((sum, { data }) => sum + data.length, 0);
  return size > MOST_KEPT ? { ...message, attachments: [], lost: true } : message;
}
