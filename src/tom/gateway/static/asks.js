// Asks: what a run wants of its person, and what became of it. Pure: no page, no network.

/** What a tool can do, in words. */
export const CLASSES = {
  read_public: "reads what is public",
  read_private: "reads private matters",
  write_own: "changes your own things",
  write_external: "acts on others",
  destructive: "may destroy something",
};

/** Every ask of an event; null for other events. */
export function askOf(event) {
  const extra = event.extra ?? {};
  if (event.type === "approval.requested" || event.type === "elicitation.requested") {
    return askFrom({ ...extra, conversation_id: event.conversation_id, asked_at: event.timestamp }, event.tool_call_id);
  }
  return null;
}

/** An ask as `GET /approvals` and `GET /elicitations` have it. */
export function askFrom(shown, callId = null) {
  const approval = shown.approval_id !== undefined;
  return {
    kind: approval ? "approval" : "elicitation",
    id: approval ? shown.approval_id : shown.elicitation_id,
    conversationId: shown.conversation_id,
    runId: shown.run_id,
    callId,
    service: shown.service ?? "",
    tool: shown.tool ?? "",
    toolClass: shown.class ?? "",
    arguments: shown.arguments ?? {},
    digest: shown.arguments_digest ?? "",
    reason: shown.reason ?? "",
    tainted: Boolean(shown.tainted),
    sources: shown.sources ?? [],
    mayRemember: Boolean(shown.may_remember),
    mode: shown.mode ?? "form",
    message: shown.message ?? "",
    schema: shown.schema ?? {},
    url: shown.url ?? "",
    askedAt: shown.asked_at,
    expiresAt: shown.expires_at ?? null,
    answer: null,
  };
}

/** The id of the ask that an event answers; null for other events. */
export function answeredId({ type, extra }) {
  if (type === "approval.answered") return extra.approval_id;
  return type === "elicitation.answered" ? extra.elicitation_id : null;
}

/** What an answering event says. */
export function answerOf(event) {
  const extra = event.extra;
  return {
    word: extra.decision ?? extra.outcome,
    by: extra.by ?? "",
    device: extra.device ?? "",
    at: event.timestamp,
    edited: extra.decision === "allow" ? (extra.arguments ?? null) : null,
    digest: extra.arguments_digest ?? "",
    note: extra.note ?? "",
    remember: extra.remember ?? "once",
    content: extra.content ?? null,
  };
}

/** The answer that was just given on this page; its event follows. */
export function answerHere(word, by, at, { edited = null, note = "", remember = "once", content = null } = {}) {
  return { word, by, device: "", at, edited, digest: "", note, remember, content };
}

const NOBODY = new Set(["expiry", "cancel", "restart"]);

/** The answer that somebody else gave, as a refusal of ours tells it. */
export function answerElsewhere({ code, details }, ask) {
  const nobody = { expired: "expiry", approval_not_found: "cancel", elicitation_not_found: "cancel" }[code];
  const word = details.decision ?? details.outcome ?? "";
  const by = nobody ?? (word === "cancelled" ? "cancel" : "");
  const at = nobody === "expiry" ? ask.expiresAt : (details.answered_at ?? null);
  return answerHere(word, by, at);
}

/** The codes of a refusal that say that nothing is to be answered any more. */
export const TOO_LATE = new Set(["already_answered", "expired", "approval_not_found", "elicitation_not_found"]);

const AFTERWARDS = { called: "running", done: "executed", failed: "failed", unresolved: "unknown" };

/**
 * The state of an ask: pending, allowed, edited, denied, expired, cancelled, running, executed, failed, unknown for an
 * approval; pending, answered, declined, dismissed, expired, cancelled for a question; gone when nobody here knows.
 * `call` may be unknown (null); `over`: its run has ended.
 */
export function stateOf(ask, call, over) {
  const { answer } = ask;
  if (!answer) return over ? "cancelled" : "pending";
  if (!answer.word && !answer.by) return "gone";
  if (answer.by === "expiry") return "expired";
  if (answer.by === "cancel" || answer.by === "restart") return "cancelled";
  if (ask.kind === "elicitation") return { accept: "answered", decline: "declined" }[answer.word] ?? "dismissed";
  if (answer.word !== "allow") return "denied";
  return AFTERWARDS[call?.state] ?? (answer.edited ? "edited" : "allowed");
}

/** The states in words. */
export const STATES = {
  pending: "waits for you",
  allowed: "allowed",
  edited: "edited and allowed",
  denied: "denied",
  expired: "expired: nobody answered in time",
  cancelled: "cancelled with its run",
  running: "allowed, running",
  executed: "allowed and done",
  failed: "allowed, but it failed",
  unknown: "allowed; whether it happened is not known",
  answered: "answered",
  declined: "declined",
  dismissed: "cancelled",
  gone: "does not wait any more",
};

/** Who answered, where, in words; empty when nobody did. */
export function whoOf(answer, person) {
  if (!answer || NOBODY.has(answer.by)) return "";
  const who = !answer.by ? (answer.word ? "on another device" : "") : answer.by === person ? "by you" : `by ${answer.by}`;
  return answer.device ? `${who} (${answer.device})` : who;
}
