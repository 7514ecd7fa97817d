// What waits for the person, in all conversations: the list that the server keeps, brought up to date by events.

import { answerHere, answerOf, answeredId, askFrom } from "./asks.js";
import { logIn } from "./dom.js";
import { parseSent } from "./exact.js";

const CALM = 150;
const AGAIN = 5000;
const ASKS = /^(approval|elicitation)\./u;
const ENDS = new Set(["run.completed", "run.failed", "run.cancelled"]);

async function fetchAsks(path, name) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (answer.status === 401) logIn();
  if (!answer.ok) return null;
  return parseSent(await answer.text())[name].map((shown) => askFrom(shown));
}

export class Inbox {
  /** `changed()` is called when there is something else to show; `arrived(ask)` for each new ask. */
  constructor({ changed, arrived }) {
    Object.assign(this, { changed, arrived });
    this.asks = new Map();
    this.loaded = false;
    this.timer = 0;
    this.known = null;
  }

  /** Those that nobody has answered, newest first. */
  get pending() {
    return this.all.filter((ask) => !ask.answer && !ask.over);
  }

  /** Every ask that was seen since `forget`, newest first. */
  get all() {
    const later = (left, right) => Date.parse(right.askedAt) - Date.parse(left.askedAt) || (left.id < right.id ? 1 : -1);
    return [...this.asks.values()].sort(later);
  }

  get(id) {
    return this.asks.get(id) ?? null;
  }

  /** Drop what was answered: it is no longer looked at. */
  forget() {
    for (const [id, ask] of this.asks) if (ask.answer || ask.over) this.asks.delete(id);
  }

  /** Ask the server soon, and once for many changes. */
  refresh(wait = CALM) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), wait);
  }

  async load() {
    let found;
    try {
      found = await Promise.all([fetchAsks("/approvals", "approvals"), fetchAsks("/elicitations", "elicitations")]);
    } catch {
      found = [null];
    }
    if (found.includes(null)) {
      this.refresh(AGAIN);
      return;
    }
    this.take(found.flat());
  }

  take(found) {
    const open = new Set(found.map((ask) => ask.id));
    for (const ask of found) if (!this.asks.has(ask.id)) this.asks.set(ask.id, ask);
    for (const ask of this.asks.values()) if (!open.has(ask.id) && !ask.over) ask.answer ??= answerHere("", "", null);
    const news = this.known === null ? [] : found.filter((ask) => !this.known.has(ask.id));
    this.known = open;
    this.loaded = true;
    this.changed();
    for (const ask of news) this.arrived(ask);
  }

  /** Something happened in a conversation. */
  heardEvent(event) {
    if (!ASKS.test(event.type) && !ENDS.has(event.type)) return;
    const ask = this.asks.get(answeredId({ type: event.type, extra: event.extra ?? {} }));
    if (ask) {
      ask.answer = answerOf(event);
      this.changed();
    }
    if (ENDS.has(event.type)) {
      for (const one of this.asks.values()) if (one.runId === event.extra?.run_id && !one.answer) one.over = true;
      this.changed();
    }
    if (event.type.endsWith(".requested")) this.refresh();
  }
}
