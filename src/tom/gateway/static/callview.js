// One tool call: what it is and how far it is in a line, its arguments and result on demand. What a service says is
// text: it is never read as Markdown, and nothing in it can be clicked.

import { CLASSES } from "./asks.js";
import { lasted, make, revealed, say, spelled } from "./dom.js";
import { parseExactly } from "./exact.js";
import { picture } from "./files.js";
import { icon } from "./icons.js";
import { tree } from "./tree.js";

const STATES = {
  asked: "waiting",
  called: "running",
  done: "done",
  failed: "failed",
  denied: "denied",
  unresolved: "may have happened",
  skipped: "not called",
};

const LONG = 20000;
const SECOND = 1000;

/** JSON for reading; text that is none stays as it is. */
function pretty(text) {
  try {
    return JSON.stringify(parseExactly(text), null, 2);
  } catch {
    return text;
  }
}

export class CallView {
  constructor(conversationId) {
    this.conversationId = conversationId;
    this.icon = make("span", { className: "call-icon" });
    this.mark = make("span", { className: "call-mark", "aria-hidden": "true" });
    this.name = make("span", { className: "call-name", dir: "ltr" });
    this.state = make("span", { className: "call-state" });
    this.bar = make("progress", { className: "call-bar", hidden: true });
    this.note = make("p", { className: "call-note", dir: "auto", hidden: true });
    this.body = make("div", { className: "call-body" });
    const summary = make("summary", {}, this.icon, this.name, this.state, this.mark);
    this.record = make("details", { className: "call" }, summary, this.body);
    this.element = make("div", { className: "call-row" }, this.record, this.bar, this.note);
    this.record.addEventListener("toggle", () => this.fill());
    this.call = null;
    this.drawn = "";
    this.timer = 0;
  }

  show(call) {
    this.call = call;
    this.record.dataset.state = call.state;
    say(this.name, revealed(call.service ? `${call.service} · ${call.tool}` : call.name));
    if (this.toolClass !== call.toolClass) {
      this.toolClass = call.toolClass;
      this.icon.replaceChildren(icon(call.toolClass ?? "tool"));
      this.icon.title = call.toolClass ? `This tool ${CLASSES[call.toolClass] ?? call.toolClass}` : "";
    }
    this.showState();
    this.showProgress();
    this.fill();
  }

  showState() {
    const { call } = this;
    const running = call.state === "called";
    const took = running ? elapsed(call.since) : call.took;
    const time = took === null || took === undefined || call.state === "denied" ? "" : running ? clock(took) : lasted(took);
    const far = running && call.progress?.total ? ` ${Math.floor((100 * call.progress.done) / call.progress.total)} %` : "";
    say(this.state, `${STATES[call.state]}${far}${time ? ` · ${time}` : ""}`);
    if (running && !this.timer) this.timer = setInterval(() => this.tick(), SECOND);
    if (!running) this.stopTicking();
  }

  tick() {
    if (this.element.isConnected && this.call.state === "called") this.showState();
    else this.stopTicking();
  }

  stopTicking() {
    clearInterval(this.timer);
    this.timer = 0;
  }

  showProgress() {
    const { progress } = this.call;
    this.bar.hidden = !progress;
    this.note.hidden = !progress?.message;
    if (!progress) return;
    this.bar.setAttribute("aria-label", "Progress of the call");
    if (progress.total && progress.done !== null) {
      this.bar.max = progress.total;
      this.bar.value = Math.min(Math.max(progress.done, 0), progress.total);
    } else {
      this.bar.removeAttribute("value");
    }
    say(this.note, spelled(progress.message.slice(0, 300)));
  }

  /** Arguments and results may be long: they are only in the page while they are looked at. */
  fill() {
    const key = this.record.open ? `${this.call.state} ${this.call.arguments === null}` : "";
    if (key === this.drawn) return;
    this.drawn = key;
    this.body.replaceChildren(...(this.record.open ? this.parts() : []));
  }

  parts() {
    const { call } = this;
    const parts = [make("h3", { text: "Arguments" }), ...argumentsOf(call)];
    if (call.result === null) return parts;
    const title = { failed: "Error", denied: "Why not" }[call.state] ?? "Result";
    parts.push(make("h3", { text: title }), ...cut(pretty(call.result)));
    for (const one of call.pictures) parts.push(pictureOf(this.conversationId, one));
    if (call.sources.length > 0) {
      const names = call.sources.map((source) => make("bdi", { dir: "ltr", className: "source", text: revealed(source) }));
      parts.push(make("p", { className: "call-sources" }, "Nobody vouches for this text. It comes from ", ...names));
    }
    return parts;
  }
}

/** The arguments as a tree, and raw beneath it. */
function argumentsOf(call) {
  let given = call.arguments;
  if (given === null) {
    try {
      given = parseExactly(call.written || "{}");
    } catch {
      return [block(call.written)]; // not JSON: as the model wrote it
    }
  }
  const raw = make("details", { className: "raw" }, make("summary", { text: "Raw" }));
  raw.addEventListener("toggle", () => raw.childElementCount === 1 && raw.append(block(revealed(JSON.stringify(given, null, 2)))));
  return [tree(given), raw];
}

function pictureOf(conversationId, { name, file }) {
  const missing = [make("p", { className: "note", text: "This picture is not there any more." })];
  return picture(conversationId, file, { className: "picture", alt: `${name ?? "Picture"}, returned by the tool`, missing });
}

function elapsed(since) {
  const began = Date.parse(since ?? "");
  return Number.isNaN(began) ? null : Math.max(0, Date.now() - began);
}

/** Whole seconds, then minutes: a running clock that jumps by tenths is no use to anybody. */
function clock(milliseconds) {
  const seconds = Math.floor(milliseconds / SECOND);
  if (seconds < 1) return "";
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function block(text) {
  return make("pre", { dir: "auto", text: spelled(text), tabindex: "0" });
}

function cut(text) {
  if (text.length <= LONG) return [block(text || "nothing")];
  const whole = make("button", { type: "button", className: "quiet", text: `Show all ${text.length} characters` });
  const short = block(`${text.slice(0, LONG)}…`);
  whole.addEventListener("click", () => {
    short.textContent = spelled(text);
    whole.remove();
  });
  return [short, whole];
}
