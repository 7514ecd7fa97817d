// One tool call: its name and state in a line, its arguments and result on demand.

import { lasted, make, say, spelled } from "./dom.js";

const STATES = {
  asked: "waiting",
  called: "running",
  done: "done",
  failed: "failed",
  unresolved: "may have happened",
  skipped: "not called",
};

const LONG = 20000;

/** JSON for reading; text that is none stays as it is. */
function pretty(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return JSON.stringify(value, null, 2);
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}

export class CallView {
  constructor() {
    this.name = make("span", { className: "call-name", dir: "ltr" });
    this.state = make("span", { className: "call-state" });
    this.body = make("div", { className: "call-body" });
    const icon = make("span", { className: "call-icon", "aria-hidden": "true" });
    const summary = make("summary", {}, icon, this.name, this.state);
    this.element = make("details", { className: "call" }, summary, this.body);
    this.element.addEventListener("toggle", () => this.fill());
    this.call = null;
  }

  show(call) {
    this.call = call;
    const took = call.took === null ? "" : ` · ${lasted(call.took)}`;
    this.element.dataset.state = call.state;
    say(this.name, spelled(call.service ? `${call.service} · ${call.tool}` : call.name));
    say(this.state, STATES[call.state] + took);
    this.fill();
  }

  /** Arguments and results may be long: they are only in the page while they are looked at. */
  fill() {
    const parts = this.element.open ? this.parts() : [];
    this.body.replaceChildren(...parts);
  }

  parts() {
    const { call } = this;
    const given = pretty(call.arguments ?? call.written);
    const parts = [make("h3", { text: "Arguments" }), block(given === "{}" || given === "" ? "none" : given)];
    if (call.result === null) return parts;
    return [...parts, make("h3", { text: call.state === "failed" ? "Error" : "Result" }), ...cut(pretty(call.result))];
  }
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
