// The open conversation: follows it over the socket, without a gap and without doubles.

import { logIn } from "./dom.js";
import { parseSent } from "./exact.js";
import { Story } from "./story.js";

const SHOWN_FIRST = 300;
const EARLIER = 300;
const ASK_AGAIN = 3000;
const TROUBLE = new Set(["rate_limited", "invalid_json", "internal_error", "shutting_down"]);

export class Conversation {
  /** `hooks`: transcript, outbox, wire, and changed(), moved(run), opened(id), listChanged(). */
  constructor(hooks) {
    Object.assign(this, hooks);
    this.visit = 0;
    this.reset(null);
  }

  /** Open the conversation `id`, or a new one. */
  turnTo(id) {
    if (this.following) this.wire.send("unsubscribe", { conversation_id: this.id }, "unsubscribe");
    this.reset(id);
    this.transcript.clear();
    this.transcript.tell(this.story, this.id);
    this.showPending();
    this.changed();
    if (id !== null) this.begin();
  }

  reset(id) {
    this.visit += 1;
    this.id = id;
    this.story = new Story();
    this.located = id === null;
    this.firstSeq = 1;
    this.epoch = null;
    this.resuming = "";
    this.following = false;
    this.absent = false;
    this.seen = new Map();
  }

  /** The socket is open, again or for the first time. */
  reconnected() {
    this.resuming = "";
    this.following = false;
    for (const message of this.outbox.messages.values()) if (message.state === "sending") this.post(message);
    if (this.id !== null) this.begin();
  }

  // --- following ---

  async begin() {
    if (!this.located && !(await this.locate())) return;
    if (!this.following) this.resume();
  }

  /** Find out where the newest part begins. A conversation that is only in the outbox does not exist yet. */
  async locate() {
    const { visit } = this;
    const answer = await this.events(0, 1);
    if (visit !== this.visit || this.located) return visit === this.visit;
    if (answer === undefined) {
      setTimeout(() => visit === this.visit && this.begin(), ASK_AGAIN);
      return false;
    }
    if (answer === null) {
      this.absent = this.outbox.of(this.id).size === 0;
      this.located = !this.absent;
      this.changed();
      return false;
    }
    this.firstSeq = answer.first_seq ?? 1;
    this.epoch = answer.epoch ?? null;
    this.startAt(Math.max(this.firstSeq - 1, answer.last_seq - SHOWN_FIRST, 0));
    this.located = true;
    return true;
  }

  startAt(after) {
    this.story = new Story(after);
    this.seen = new Map();
    this.transcript.tell(this.story, this.id);
    this.showPending();
  }

  /** Ask for everything after what is known, and for what is still being said. */
  resume() {
    if (this.resuming || this.id === null) return;
    const requestId = `resume-${crypto.randomUUID()}`;
    const payload = { conversation_id: this.id, after: this.story.last, live: true };
    if (this.epoch !== null) payload.epoch = this.epoch;
    if (this.wire.send("resume", payload, requestId)) this.resuming = requestId;
  }

  /** The events after `after`; null when there is no such conversation, undefined when nobody answers. */
  async events(after, limit) {
    const path = `/sessions/${encodeURIComponent(this.id)}/events?after=${after}&limit=${limit}`;
    try {
      const answer = await fetch(path, { headers: { Accept: "application/json" } });
      if (answer.status === 401) logIn();
      if (answer.status === 404) return null;
      return answer.ok ? parseSent(await answer.text()) : undefined;
    } catch {
      return undefined;
    }
  }

  get hasEarlier() {
    return this.located && this.id !== null && this.story.after >= this.firstSeq;
  }

  /** Put the part before the shown one in front of it. */
  async showEarlier() {
    const { visit } = this;
    const { after } = this.story;
    const from = Math.max(this.firstSeq - 1, after - EARLIER);
    const answer = await this.events(from, after - from);
    if (visit !== this.visit || !answer || this.story.after !== after) return;
    this.story = this.story.extended(answer.events.filter((event) => event.seq <= after));
    this.transcript.tell(this.story, this.id);
    this.showPending();
    this.changed();
  }

  // --- acting ---

  /** Send a message: it is shown at once, and counts as sent when it is stored. */
  send(text, { attachments = [], prompt = null } = {}) {
    if (this.id === null) {
      this.id = crypto.randomUUID();
      this.located = true;
      this.transcript.conversationId = this.id;
      this.opened(this.id);
    }
    const message = this.outbox.add(this.id, text, { attachments, prompt });
    this.transcript.follow();
    this.showPending();
    this.post(message);
    this.changed();
  }

  post(message) {
    const { text, conversationId, prompt, attachments = [] } = message;
    if (prompt) {
      const { name, arguments: given } = prompt;
      this.wire.send("prompt", { name, arguments: given, conversation_id: conversationId }, message.requestId);
      return;
    }
    const payload = { text, conversation_id: conversationId, streaming: true };
    if (attachments.length > 0) payload.attachments = attachments;
    this.wire.send("chat", payload, message.requestId);
  }

  /** Send a refused message once more, under the same request id. */
  again(requestId) {
    const message = this.outbox.get(requestId);
    Object.assign(message, { state: "sending", error: "" });
    this.showPending();
    this.post(message);
  }

  discard(requestId) {
    this.outbox.settle(requestId);
    this.showPending();
    this.changed();
  }

  stop() {
    const run = this.story.active;
    if (run) this.wire.send("stop", { conversation_id: this.id, run_id: run.id }, "stop");
  }

  retry(runId) {
    this.wire.send("retry", { conversation_id: this.id, run_id: runId }, `retry-${crypto.randomUUID()}`);
  }

  showPending() {
    this.transcript.showPending(this.id === null ? new Map() : this.outbox.of(this.id));
  }

  // --- hearing ---

  hear(frame) {
    HEARD[frame.status]?.(this, frame);
  }

  heardEvent(frame) {
    if (frame.conversation_id !== this.id || !this.located) return;
    const { event } = frame;
    if (event.type === "history.retired") this.firstSeq = event.extra.first_seq;
    if (event.seq === undefined) {
      this.startAt(this.firstSeq - 1); // what was asked for is not kept any more
      return;
    }
    const outcome = this.story.take(event);
    if (outcome === "gap") this.resume();
    if (outcome !== "new") return;
    if (event.type === "message.received" && this.outbox.settle(event.request_id)) this.showPending();
    this.touched(event.extra?.run_id);
    if (/^(message\.|run\.)/.test(event.type)) {
      this.transcript.touch();
      this.listChanged();
    }
  }

  heardFragment(frame) {
    if (frame.conversation_id !== this.id || !this.story.runs.has(frame.run_id)) return;
    const { grew, gap } = this.story.fragment(frame);
    if (gap) this.resume();
    if (grew) this.touched(frame.run_id);
  }

  heardProgress(frame) {
    if (frame.conversation_id === this.id && this.story.progress(frame)) this.touched(frame.run_id);
  }

  heardAccepted(frame) {
    this.listChanged();
    this.outbox.stored(frame.request_id);
    this.showPending();
    if (frame.conversation_id === this.id && !this.following) this.resume();
  }

  heardComplete(frame) {
    if (frame.request_id !== this.resuming || frame.metadata?.result !== "caught_up") return;
    this.resuming = "";
    this.following = true;
    this.epoch = frame.metadata.epoch ?? this.epoch;
    if (frame.metadata.reload) {
      // The store numbers anew: what is shown may be of another past.
      this.firstSeq = 1;
      this.startAt(0);
      this.resume();
    }
    this.changed();
  }

  heardError(frame) {
    const { code = "", message = "Something went wrong." } = frame.error ?? {};
    const pending = this.outbox.get(frame.request_id);
    if (pending && !frame.run_id) {
      this.outbox.refuse(frame.request_id, message);
      this.showPending();
    } else if (frame.request_id === this.resuming) {
      this.resumeRefused(code, message);
    } else if (!frame.run_id || TROUBLE.has(code)) {
      this.transcript.notice(message);
    }
  }

  resumeRefused(code, message) {
    this.resuming = "";
    if (code === "after_out_of_range") {
      this.epoch = null;
      this.startAt(0);
      this.resume();
    } else if (code === "conversation_not_found") {
      const pending = [...this.outbox.of(this.id).values()];
      this.absent = pending.length === 0;
      if (pending.some((message) => message.state === "stored")) this.resume();
      this.changed();
    } else {
      this.transcript.notice(message);
    }
  }

  /** A run changed: draw it, and say so when its state did. */
  touched(runId) {
    const run = this.story.runs.get(runId);
    this.transcript.touch(runId);
    if (run && this.seen.get(runId) !== run.state) {
      this.seen.set(runId, run.state);
      if (this.following) this.moved(run);
    }
    this.changed();
  }
}

const HEARD = {
  event: (conversation, frame) => conversation.heardEvent(frame),
  chunk: (conversation, frame) => conversation.heardFragment(frame),
  processing: (conversation, frame) => conversation.heardProgress(frame),
  accepted: (conversation, frame) => conversation.heardAccepted(frame),
  complete: (conversation, frame) => conversation.heardComplete(frame),
  error: (conversation, frame) => conversation.heardError(frame),
};
