// Calls that are over and follow each other fold into one line: "5 calls, 3 services, 4.2 s".

import { lasted, make, say } from "./dom.js";

const FEWEST = 3;
const OVER = new Set(["done", "failed"]);

/** The stretches of calls that may fold: [[{view, call}, …], …]. `rows` are calls, and null where something stands between. */
export function stretchesOf(rows) {
  const stretches = [[]];
  for (const row of rows) {
    if (row && OVER.has(row.call.state)) stretches.at(-1).push(row);
    else if (stretches.at(-1).length > 0) stretches.push([]);
  }
  return stretches.filter((stretch) => stretch.length >= FEWEST);
}

/** What a stretch says of its calls. */
export function summaryOf(stretch) {
  const calls = stretch.map(({ call }) => call);
  const services = new Set(calls.map((call) => call.service)).size;
  const failed = calls.filter((call) => call.state === "failed").length;
  const began = Math.min(...calls.map((call) => Date.parse(call.since ?? "")));
  const ended = Math.max(...calls.map((call) => Date.parse(call.until ?? "")));
  const took = Number.isFinite(began) && ended > began ? ended - began : calls.reduce((sum, call) => sum + (call.took ?? 0), 0);
  const parts = [`${calls.length} calls`, `${services} service${services === 1 ? "" : "s"}`, lasted(took)];
  return `${parts.join(", ")}${failed > 0 ? ` · ${failed} failed` : ""}`;
}

export class CallGroup {
  constructor() {
    this.open = false;
    this.text = make("span", {});
    this.button = make("button", { type: "button", className: "call-group", "aria-expanded": "false" }, make("span", { className: "call-mark", "aria-hidden": "true" }), this.text);
    this.button.addEventListener("click", () => this.toggle());
    this.stretch = [];
  }

  /** Stand for these calls. One that is being looked at keeps them all in sight. */
  show(stretch) {
    const fresh = stretch.filter((row) => !this.stretch.some((known) => known.view === row.view));
    const looked = fresh.some(({ view }) => view.record.open || view.element.contains(document.activeElement));
    if (looked) this.open = true;
    const left = this.stretch.filter((known) => !stretch.some((row) => row.view === known.view));
    for (const { view } of left) view.element.hidden = false;
    this.stretch = stretch;
    say(this.text, summaryOf(stretch));
    const first = stretch[0].view.element;
    if (first.previousElementSibling !== this.button) first.before(this.button);
    this.draw();
  }

  toggle() {
    this.open = !this.open;
    this.draw();
  }

  draw() {
    this.button.setAttribute("aria-expanded", String(this.open));
    for (const { view } of this.stretch) view.element.hidden = !this.open;
  }

  /** No longer stand for anything. */
  remove() {
    for (const { view } of this.stretch) view.element.hidden = false;
    this.button.remove();
  }
}
