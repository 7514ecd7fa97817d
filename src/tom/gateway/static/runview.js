// A message and everything that followed it.

import { ApprovalCard } from "./approvalcard.js";
import { stateOf } from "./asks.js";
import { CallGroup, stretchesOf } from "./callgroup.js";
import { CallView } from "./callview.js";
import { make, moment, revealed, say } from "./dom.js";
import { ElicitationCard } from "./elicitationcard.js";
import { picture, textFile } from "./files.js";
import { icon } from "./icons.js";
import { Prose } from "./prose.js";
import { isOver } from "./story.js";

const REASONS = {
  length: "The answer was cut: it reached the greatest length.",
  tool_limit_reached: "The limit of tool calls was reached.",
  content_filter: "The model's provider withheld the rest.",
};

export class RunView {
  /** `retry(runId)` asks for a failed run again; `settled(ask)` hears of asks that were answered here. */
  constructor(conversationId, { press, retry, settled }) {
    Object.assign(this, { conversationId, press, retry, settled });
    this.turns = new Map();
    this.cards = new Map();
    this.groups = [];
    this.asked = null;
    this.body = make("div", { className: "turns" });
    this.mark = make("p", { className: "mark", hidden: true });
    this.trouble = make("div", { className: "trouble", hidden: true });
    this.foot = make("footer", { className: "foot", hidden: true });
    const heading = make("h2", { className: "unseen", text: "Tom" });
    this.answer = make("article", { className: "answer" }, heading, this.body, this.mark, this.trouble, this.foot);
    this.element = make("section", { className: "run" }, this.answer);
  }

  show(run, ahead) {
    this.element.dataset.state = run.state;
    this.showAsked(run);
    for (const [number, turn] of [...run.turns].sort(([left], [right]) => left - right)) this.showTurn(number, turn);
    this.showAsks(run);
    this.fold(run);
    this.showMark(run, ahead);
    this.showTrouble(run);
    this.showFoot(run);
  }

  showAsked(run) {
    if (this.asked || !run.asked) return;
    this.asked = askedArticle(run.asked.text, moment(run.asked.at));
    if (run.asked.attachments.length > 0) {
      this.asked.querySelector(".words").before(attachmentList(this.conversationId, run.asked.attachments));
    }
    this.element.prepend(this.asked);
  }

  showTurn(number, turn) {
    const view = this.turnView(number);
    view.prose.show(turn.reply.text);
    view.element.classList.toggle("live", !turn.reply.ended && turn.reply.text !== "");
    const again = turn.reply.attempt > 1;
    view.again.hidden = !again;
    if (again) say(view.again, `Started again (attempt ${turn.reply.attempt})`);
    for (const [id, call] of turn.calls) {
      if (!view.calls.has(id)) {
        view.calls.set(id, new CallView(this.conversationId));
        view.list.append(view.calls.get(id).element);
      }
      view.calls.get(id).show(call);
    }
  }

  /** The card of each ask stands after the call that it is about, and for it until the call is made. */
  showAsks(run) {
    for (const ask of run.asks.values()) {
      const [row, call] = this.rowOf(ask, run);
      if (!this.cards.has(ask.id)) {
        const card = ask.kind === "approval" ? new ApprovalCard(this.settled) : new ElicitationCard(this.settled);
        this.cards.set(ask.id, card);
        if (row) row.element.after(card.element);
        else this.body.append(card.element);
      }
      const over = run.state === "completed" || run.state === "failed" || run.state === "cancelled";
      this.cards.get(ask.id).show(ask, call, over);
      if (row && ask.kind === "approval") row.element.hidden = call.since === null;
    }
  }

  rowOf(ask, run) {
    for (const [number, turn] of run.turns) {
      const call = turn.calls.get(ask.callId);
      if (call) return [this.turns.get(number).calls.get(ask.callId), call];
    }
    return [null, null];
  }

  fold(run) {
    const rows = [];
    const asked = new Set([...run.asks.values()].map((ask) => ask.callId));
    for (const [number, turn] of [...run.turns].sort(([left], [right]) => left - right)) {
      if (turn.reply.text.trim()) rows.push(null);
      for (const [id, call] of turn.calls) rows.push(asked.has(id) ? null : { view: this.turns.get(number).calls.get(id), call });
    }
    const stretches = stretchesOf(rows);
    for (const group of this.groups.splice(stretches.length)) group.remove();
    stretches.forEach((stretch, index) => {
      this.groups[index] ??= new CallGroup();
      this.groups[index].show(stretch);
    });
  }

  turnView(number) {
    if (this.turns.has(number)) return this.turns.get(number);
    const prose = new Prose(this.press);
    const again = make("p", { className: "note", hidden: true });
    const list = make("div", { className: "calls" });
    const element = make("div", { className: "turn" }, again, prose.element, list);
    const view = { prose, again, list, element, calls: new Map() };
    this.turns.set(number, view);
    this.body.append(element);
    return view;
  }

  showMark(run, ahead) {
    const notes = run.notes.join(" ");
    const doing = { queued: waitingFor(ahead), running: thinking(run), waiting: awaiting(run) }[run.state] ?? "";
    const text = [run.retryOf ? "Tried again." : "", notes, doing].filter(Boolean).join(" ");
    this.mark.hidden = text === "";
    this.mark.classList.toggle("working", doing !== "");
    say(this.mark, text);
  }

  showTrouble(run) {
    const show = run.state === "failed" || run.state === "cancelled";
    this.trouble.hidden = !show;
    if (!show || this.trouble.childElementCount > 0) {
      if (run.retriedBy) this.trouble.querySelector("button")?.remove();
      return;
    }
    this.trouble.dataset.state = run.state;
    const words = run.state === "cancelled" ? "Stopped." : run.end.reason || "This could not be answered.";
    this.trouble.append(make("p", { dir: "auto", text: words }));
    if (run.state === "failed") this.trouble.append(make("p", { className: "code" }, make("code", { text: run.end.code })));
    if (run.retriedBy) return;
    const text = run.state === "failed" ? "Try again" : "Ask again";
    this.trouble.append(make("button", { type: "button", text, onclick: () => this.retry(run.id) }));
  }

  showFoot(run) {
    const show = isOver(run) && this.turns.size > 0;
    if (!show || !this.foot.hidden) return;
    this.foot.hidden = false;
    const tokens = run.end.usage?.total_tokens;
    const about = run.end.usage?.estimated ? "about " : "";
    const facts = [run.model, tokens ? `${about}${tokens} tokens` : ""].filter(Boolean).join(" · ");
    const notice = REASONS[run.end.finish_reason] ?? run.end.warning;
    if (notice) this.foot.append(make("p", { className: "note", text: notice }));
    const copy = make("button", { type: "button", className: "quiet", text: "Copy", "aria-label": "Copy the answer" });
    copy.addEventListener("click", () => this.copy(run, copy));
    this.foot.append(make("div", { className: "facts" }, moment(run.end.at), make("bdi", { text: facts }), copy));
  }

  async copy(run, button) {
    const text = [...run.turns.values()].map((turn) => turn.reply.text).filter(Boolean).join("\n\n");
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
}

/** What a person wrote: as they wrote it, each line in its own direction. */
export function askedArticle(text, ...rest) {
  const heading = make("h2", { className: "unseen", text: "You" });
  const words = make("div", { className: "words", text });
  return make("article", { className: "asked" }, heading, words, make("footer", { className: "foot" }, ...rest));
}

function waitingFor(ahead) {
  if (ahead < 1) return "Waiting to start…";
  return `Waiting for ${ahead === 1 ? "the answer before it" : `${ahead} answers before it`}…`;
}

/** What came with a message: pictures in small, texts by name. */
export function attachmentList(conversationId, attachments) {
  const list = make("ul", { className: "attached", "aria-label": "Attachments" });
  for (const { type, name, file, data, media_type: mediaType } of attachments) {
    const alt = revealed(String(name ?? (type === "image" ? "Picture" : "Text")));
    const label = [icon("text"), make("bdi", { text: alt })];
    if (type === "image" && file) list.append(make("li", {}, picture(conversationId, file, { className: "thumb", alt, missing: label })));
    else if (type === "image") list.append(make("li", {}, make("img", { className: "thumb", alt, src: `data:${mediaType};base64,${data}` })));
    else list.append(make("li", {}, ...(file ? [textFile(conversationId, file, ...label)] : label)));
  }
  return list;
}

/** What a run waits for. Calls beside an open question may still be on their way. */
function awaiting(run) {
  const open = [...run.asks.values()].filter((ask) => stateOf(ask, null, false) === "pending").length;
  if (open === 0) return "Going on…";
  return open === 1 ? "Waits for your answer." : `Waits for ${open} answers of yours.`;
}

function thinking(run) {
  const turns = [...run.turns.values()];
  const called = turns.flatMap((turn) => [...turn.calls.values()]).filter((call) => call.state === "called");
  if (called.length === 1) return `Calling ${revealed(called[0].tool ?? called[0].name)}…`;
  if (called.length > 1) return `Calling ${called.length} tools…`;
  const last = turns.at(-1);
  return last && !last.reply.ended && last.reply.text ? "" : "Thinking…";
}
