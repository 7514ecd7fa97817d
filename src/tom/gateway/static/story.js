// What a conversation's events and fragments tell, run by run. Pure: no page, no network.

import { answerOf, answeredId, askOf, stateOf } from "./asks.js";
import { Reply } from "./reply.js";

const OVER = new Set(["completed", "failed", "cancelled"]);

/** Whether nothing will follow in this run. */
export const isOver = (run) => OVER.has(run.state);

function newRun(id) {
  const turns = new Map();
  return { id, asked: null, retryOf: null, retriedBy: null, state: "running", turns, asks: new Map(), notes: [], end: null };
}

function newCall(id, name, written) {
  return {
    id, name, written, service: null, tool: null, toolClass: null, arguments: null, state: "asked", result: null, took: null,
    since: null, until: null, progress: null, sources: [], pictures: [], reason: "",
  };
}

export class Story {
  /** A story of the events after seq `after`. */
  constructor(after = 0) {
    this.after = after;
    this.last = after;
    this.events = [];
    this.runs = new Map();
    this.scripted = false;
    this.title = null;
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

  /** The run that is at work or waits for its person; null when none does. */
  get active() {
    return [...this.runs.values()].find((run) => run.state === "running" || run.state === "waiting") ?? null;
  }

  /** The asks that nobody has answered, oldest first. */
  get openAsks() {
    const asks = [...this.runs.values()].flatMap((run) => [...run.asks.values()].map((ask) => [ask, run]));
    return asks.filter(([ask, run]) => stateOf(ask, null, isOver(run)) === "pending").map(([ask]) => ask);
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
    if (frame.chunk?.type === "tool_progress") return advance(run, frame.chunk);
    if (frame.chunk?.type === "waiting") return false; // the stored event of the ask says it
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
    if (event.type === "conversation.changed" && extra.title !== undefined) this.title = extra.title;
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

/** How far a tool says that its call is. */
function advance(run, { data, metadata = {} }) {
  const calls = [...run.turns.values()].flatMap((turn) => [...turn.calls.values()]);
  const named = calls.find((call) => call.id === metadata.call_id);
  const call = named ?? calls.find((one) => one.state === "called" && `${one.service}.${one.tool}` === metadata.tool);
  if (call?.state !== "called") return false;
  const done = Number.isFinite(metadata.done) ? metadata.done : null;
  const total = Number.isFinite(metadata.total) && metadata.total > 0 ? metadata.total : null;
  call.progress = { done, total, message: String(metadata.message ?? data ?? "") };
  return true;
}

/** What became of a call that was answered without being made. */
function refusal(extra) {
  if (!extra.denied) return extra.is_error ? "failed" : "done";
  return "denied";
}

function asked({ event, run }) {
  const ask = askOf(event);
  run.asks.set(ask.id, ask);
}

function answered({ event, run }) {
  const ask = run.asks.get(answeredId(event));
  if (ask) ask.answer = answerOf(event);
}

function callOf(turn, event) {
  const id = event.tool_call_id;
  if (!turn.calls.has(id)) turn.calls.set(id, newCall(id, event.extra?.tool ?? "tool", null));
  return turn.calls.get(id);
}

const FOLDS = {
  "message.received": ({ event, extra, run }) => {
    const attachments = extra.attachments ?? [];
    run.asked = { text: event.content ?? "", at: event.timestamp, requestId: event.request_id, attachments };
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
    const waited = run.state === "waiting" && [...run.asks.values()].every((ask) => ask.answer);
    run.state = "running";
    if (!waited) run.notes.push("Went on after an interruption.");
    for (const turn of run.turns.values()) turn.reply.restart(turn.reply.attempt);
  },
  "run.waiting": ({ run }) => {
    run.state = "waiting";
  },
  "approval.requested": asked,
  "elicitation.requested": asked,
  "approval.answered": answered,
  "elicitation.answered": answered,
  "llm.fell_back": ({ extra, run }) => {
    run.notes.push(`Another model answers instead (${extra.reason}).`);
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
    const call = callOf(turn, event);
    const since = call.since ?? event.timestamp; // a call that went on after a question began when it was first made
    Object.assign(call, { service, tool, toolClass: extra.class, arguments: extra.arguments, state: "called", since });
  },
  "tool.returned": ({ event, extra, turn }) => {
    const call = callOf(turn, event);
    const { service = call.service, tool = call.tool } = extra;
    Object.assign(call, {
      service, tool, toolClass: extra.class ?? call.toolClass, state: refusal(extra), result: event.content ?? "",
      took: extra.duration_ms, until: event.timestamp, progress: null, sources: extra.label?.untrusted ?? [],
      pictures: (extra.attachments ?? []).filter((one) => one.type === "image"), reason: extra.denied ?? "",
    });
  },
  "tool.unresolved": ({ event, extra, turn }) => {
    const { service, tool } = extra;
    Object.assign(callOf(turn, event), { service, tool, state: "unresolved", result: event.content ?? "", progress: null });
  },
  "run.completed": end("completed"),
  "run.failed": end("failed"),
  "run.cancelled": end("cancelled"),
};
