// What a conversation's events and fragments tell, run by run. Pure: no page, no network.

import { Reply } from "./reply.js";

const OVER = new Set(["completed", "failed", "cancelled"]);

/** Whether nothing will follow in this run. */
export const isOver = (run) => OVER.has(run.state);

function newRun(id) {
  return { id, asked: null, retryOf: null, retriedBy: null, state: "running", turns: new Map(), notes: [], end: null };
}

function newCall(id, name, written) {
  return { id, name, written, service: null, tool: null, arguments: null, state: "asked", result: null, took: null };
}

export class Story {
  /** A story of the events after seq `after`. */
  constructor(after = 0) {
    this.after = after;
    this.last = after;
    this.events = [];
    this.runs = new Map();
    this.scripted = false;
  }

  /** The story with older events in front. Fragments of replies that are still being said are kept. */
  extended(older) {
    const after = older.length > 0 ? older[0].seq - 1 : this.after;
    const longer = new Story(after);
    for (const event of older) longer.take(event);
    for (const event of this.events) longer.take(event);
    for (const [id, run] of this.runs) {
      for (const [number, turn] of run.turns) {
        if (!turn.reply.ended) longer.turn(longer.run(id), number).reply = turn.reply;
      }
    }
    return longer;
  }

  /** The run that is at work; null when none is. */
  get active() {
    return [...this.runs.values()].find((run) => run.state === "running") ?? null;
  }

  /** Take a stored event. Answers "new", "known", or "gap" when events before it are missing. */
  take(event) {
    if (event.seq <= this.last) return "known";
    if (event.seq !== this.last + 1) return "gap";
    this.last = event.seq;
    this.events.push(event);
    this.fold(event);
    return "new";
  }

  /** Take a `chunk` frame. Answers what came of it: {grew, gap}. */
  fragment(frame) {
    if (frame.chunk?.type !== "text" || !frame.run_id) return { grew: false, gap: false };
    const run = this.run(frame.run_id);
    if (isOver(run)) return { grew: false, gap: false };
    if (run.state === "queued") run.state = "running";
    const reply = this.turn(run, frame.turn ?? 0).reply;
    return reply.add(frame.attempt ?? 1, frame.offset ?? 0, frame.chunk.data);
  }

  /** Take a `processing` frame. Answers whether anything changed. */
  progress(frame) {
    const run = this.runs.get(frame.run_id);
    if (!run || isOver(run)) return false;
    if (frame.chunk?.type === "attempt") {
      const number = frame.turn ?? Math.max(0, ...run.turns.keys());
      const reply = this.turn(run, number).reply;
      const attempt = frame.chunk.metadata?.attempt ?? reply.attempt + 1;
      if (attempt > reply.attempt) reply.restart(attempt);
    }
    if (run.state === "queued") run.state = "running";
    return true;
  }

  run(id) {
    if (!this.runs.has(id)) this.runs.set(id, newRun(id));
    return this.runs.get(id);
  }

  turn(run, number) {
    if (!run.turns.has(number)) run.turns.set(number, { reply: new Reply(), calls: new Map() });
    return run.turns.get(number);
  }

  fold(event) {
    const extra = event.extra ?? {};
    if (!extra.run_id) return;
    const run = this.run(extra.run_id);
    const turn = Number.isInteger(extra.turn) ? this.turn(run, extra.turn) : null;
    FOLDS[event.type]?.({ event, extra, run, turn, story: this });
  }
}

function end(state) {
  return ({ event, extra, run }) => {
    run.state = state;
    run.end = { ...extra, usage: event.usage, at: event.timestamp };
    for (const turn of run.turns.values()) {
      turn.reply.ended = true;
      for (const call of turn.calls.values()) {
        if (call.state === "called") call.state = "unresolved";
        if (call.state === "asked") call.state = "skipped";
      }
    }
  };
}

function callOf(turn, event) {
  const id = event.tool_call_id;
  if (!turn.calls.has(id)) turn.calls.set(id, newCall(id, event.extra?.tool ?? "tool", null));
  return turn.calls.get(id);
}

const FOLDS = {
  "message.received": ({ event, run }) => {
    run.asked = { text: event.content ?? "", at: event.timestamp, requestId: event.request_id };
    run.state = "queued";
  },
  "run.retried": ({ extra, run, story }) => {
    run.retryOf = extra.retry_of;
    run.state = "queued";
    const old = story.runs.get(extra.retry_of);
    if (old) old.retriedBy = run.id;
  },
  "run.started": ({ run }) => {
    run.state = "running";
  },
  "run.resumed": ({ run }) => {
    run.state = "running";
    run.notes.push("Went on after an interruption.");
    for (const turn of run.turns.values()) turn.reply.restart(turn.reply.attempt);
  },
  "run.waiting": ({ run }) => {
    run.state = "waiting";
  },
  "model.failed": ({ extra, run, turn }) => {
    turn?.reply.restart(turn.reply.attempt);
    run.notes.push(`Attempt ${extra.attempt} failed (${extra.code}).`);
  },
  "model.replied": ({ event, extra, run, turn, story }) => {
    turn.reply.end(event.content ?? "", extra.attempt ?? 1);
    turn.partial = Boolean(extra.partial);
    run.model = event.model;
    if (event.model === "scripted") story.scripted = true;
    for (const call of event.tool_calls ?? []) {
      turn.calls.set(call.id, newCall(call.id, call.function.name, call.function.arguments));
    }
  },
  "tool.called": ({ event, extra, turn }) => {
    const { service, tool } = extra;
    Object.assign(callOf(turn, event), { service, tool, arguments: extra.arguments, state: "called" });
  },
  "tool.returned": ({ event, extra, turn }) => {
    const state = extra.is_error ? "failed" : "done";
    Object.assign(callOf(turn, event), { state, result: event.content ?? "", took: extra.duration_ms });
  },
  "tool.unresolved": ({ event, extra, turn }) => {
    const { service, tool } = extra;
    Object.assign(callOf(turn, event), { service, tool, state: "unresolved", result: event.content ?? "" });
  },
  "run.completed": end("completed"),
  "run.failed": end("failed"),
  "run.cancelled": end("cancelled"),
};
