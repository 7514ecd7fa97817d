// A message and everything that followed it.

import { CallView } from "./callview.js";
import { make, moment, say } from "./dom.js";
import { Prose } from "./prose.js";
import { isOver } from "./story.js";

const REASONS = {
  length: "The answer was cut: it reached the greatest length.",
  tool_limit_reached: "The limit of tool calls was reached.",
  content_filter: "The model's provider withheld the rest.",
};

export class RunView {
  /** `retry(runId)` asks for a failed run again. */
  constructor(press, retry) {
    this.press = press;
    this.retry = retry;
    this.turns = new Map();
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
    this.showMark(run, ahead);
    this.showTrouble(run);
    this.showFoot(run);
  }

  showAsked(run) {
    if (this.asked || !run.asked) return;
    this.asked = askedArticle(run.asked.text, moment(run.asked.at));
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
        view.calls.set(id, new CallView());
        view.list.append(view.calls.get(id).element);
      }
      view.calls.get(id).show(call);
    }
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
    const doing = { queued: waitingFor(ahead), running: thinking(run), waiting: "Waits for you." }[run.state] ?? "";
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

function thinking(run) {
  const turns = [...run.turns.values()];
  const called = turns.flatMap((turn) => [...turn.calls.values()]).filter((call) => call.state === "called");
  if (called.length === 1) return `Calling ${called[0].tool ?? called[0].name}…`;
  if (called.length > 1) return `Calling ${called.length} tools…`;
  const last = turns.at(-1);
  return last && !last.reply.ended && last.reply.text ? "" : "Thinking…";
}
