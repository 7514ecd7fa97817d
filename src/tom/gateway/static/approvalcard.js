// The card of one call that waits for a yes. Nothing in it has the focus, Enter never allows, and it shows what is
// stored of the call, never what a model says about it.

import { decide, errorsOf } from "./answering.js";
import { CLASSES, STATES, TOO_LATE, answerElsewhere, answerHere, stateOf, whoOf } from "./asks.js";
import { dated, make, moment, person, readableJson, revealed, revealedNodes, say } from "./dom.js";
import { parseExactly } from "./exact.js";
import { Guard } from "./guard.js";
import { icon } from "./icons.js";
import { tree } from "./tree.js";

const WHOLE = 8;

export class ApprovalCard {
  /** `settled(ask)` is called when an answer was taken, or when somebody was faster. */
  constructor(settled) {
    this.settled = settled;
    this.element = make("section", { className: "ask", role: "group" });
    this.state = "";
    this.guard = null;
    this.busy = false;
  }

  /** Show `ask` as it stands. `call` is what became of it, as far as known; `over`: its run has ended. */
  show(ask, call, over) {
    this.ask = ask;
    const state = stateOf(ask, call, over);
    if (state === this.state) return;
    const before = this.state;
    this.state = state;
    this.element.dataset.state = state;
    if (state === "pending") this.drawPending();
    else this.drawOver(before === "pending");
  }

  get name() {
    return revealed(`${this.ask.service} · ${this.ask.tool}`);
  }

  // --- waiting ---

  drawPending() {
    const { ask } = this;
    const tool = make("bdi", { dir: "ltr", className: "call-name", text: this.name });
    const title = make("h3", { id: `ask-${ask.id}` }, icon(ask.toolClass), make("span", {}, "May Tom call ", tool, "?"));
    this.element.setAttribute("aria-labelledby", title.id);
    this.trouble = make("p", { className: "ask-trouble", role: "alert", hidden: true });
    this.buttons = this.drawButtons();
    this.element.replaceChildren(title, ...this.reasons(), ...this.given(), this.facts(), this.trouble, this.buttons);
    this.element.setAttribute("tabindex", "-1");
    this.guard?.stop();
    this.guard = new Guard(this.buttons);
  }

  reasons() {
    const { ask } = this;
    const can = make("p", { className: "ask-class", text: `This tool ${CLASSES[ask.toolClass] ?? "has no class"}.` });
    const why = make("p", { className: "ask-why" }, make("strong", { text: "Why you are asked: " }), make("bdi", {}, ...revealedNodes(ask.reason || "a rule asks for it", { prose: true })));
    if (!ask.tainted) return [can, why];
    const sources = ask.sources.map((source) => make("li", {}, make("bdi", { dir: "ltr", text: revealed(source) })));
    const words = "Tom has read text that nobody vouches for" + (sources.length > 0 ? ":" : ".");
    return [can, why, make("div", { className: "taint" }, make("p", { text: words }), sources.length > 0 ? make("ul", {}, ...sources) : null)];
  }

  given() {
    return [make("h4", { text: "With exactly these arguments" }), tree(this.ask.arguments)];
  }

  facts() {
    const { ask } = this;
    const until = dated(ask.expiresAt);
    const expiry = until ? make("span", {}, "Waits until ", until) : make("span", { text: "Does not expire" });
    return make("p", { className: "ask-facts" }, expiry, make("span", {}, "Digest ", digestOf(ask.digest)));
  }

  drawButtons() {
    const allow = (text, extra) => {
      const button = make("button", { type: "button", text, ...extra });
      button.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
      return button;
    };
    const once = allow("Allow once", { className: "allow" });
    const edit = allow("Edit and allow");
    const deny = make("button", { type: "button", className: "deny", text: "Deny" });
    const note = make("button", { type: "button", className: "quiet", text: "Deny with a note" });
    once.addEventListener("click", () => this.press({ decision: "allow" }));
    edit.addEventListener("click", () => this.guard.ready && this.drawEditor(allow));
    deny.addEventListener("click", () => this.press({ decision: "deny" }));
    note.addEventListener("click", () => this.guard.ready && this.drawNote());
    const always = this.ask.mayRemember ? allow("Allow for this conversation") : null;
    always?.addEventListener("click", () => this.press({ decision: "allow", remember: "conversation" }));
    return make("div", { className: "ask-buttons" }, once, edit, always, deny, note);
  }

  /** Exchange the buttons for other ones, which wait for their calm again. */
  place(fresh) {
    this.buttons.replaceWith(fresh);
    this.buttons = fresh;
    this.guard.stop();
    this.guard = new Guard(fresh);
    this.trouble.hidden = true;
  }

  goBack() {
    this.place(this.drawButtons());
    this.element.focus({ preventScroll: true });
  }

  drawEditor(allow) {
    const field = make("textarea", { className: "ask-editor", dir: "ltr", spellcheck: "false", id: `edit-${this.ask.id}`, "aria-describedby": `wrong-${this.ask.id}` });
    const asked = readableJson(JSON.stringify(this.ask.arguments, null, 2));
    field.value = asked;
    field.rows = Math.min(Math.max(asked.split("\n").length + 1, 4), 18);
    this.trouble.id = `wrong-${this.ask.id}`;
    const send = allow("Allow what is written here", { className: "allow" });
    send.addEventListener("click", () => {
      const wrong = mistakeIn(field.value);
      if (wrong) return this.complain(wrong, field);
      return this.press(field.value === asked ? { decision: "allow" } : { decision: "allow", edited: field.value }, field);
    });
    field.addEventListener("keydown", (event) => event.key === "Escape" && (event.preventDefault(), this.goBack()));
    const label = make("label", { for: field.id, text: "The arguments, as JSON" });
    const back = make("button", { type: "button", text: "Back", onclick: () => this.goBack() });
    this.place(make("div", { className: "ask-buttons" }, label, field, send, back));
    field.focus({ preventScroll: true });
  }

  drawNote() {
    const field = make("input", { type: "text", className: "ask-note", dir: "auto", maxlength: "500", id: `note-${this.ask.id}` });
    const send = make("button", { type: "button", className: "deny", text: "Deny" });
    const go = () => this.press({ decision: "deny", note: field.value.trim() });
    send.addEventListener("click", go);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) event.preventDefault();
      if (event.key === "Escape") {
        event.preventDefault();
        this.goBack();
      }
    });
    const label = make("label", { for: field.id, text: "Why not? Tom reads it." });
    const back = make("button", { type: "button", text: "Back", onclick: () => this.goBack() });
    this.place(make("div", { className: "ask-buttons" }, label, field, send, back));
    field.focus({ preventScroll: true });
  }

  async press(given, field = null) {
    if (this.busy || !this.guard.ready) return;
    this.busy = true;
    this.element.setAttribute("aria-busy", "true");
    const came = await decide(this.ask, given);
    this.busy = false;
    this.element.removeAttribute("aria-busy");
    if (this.state === "pending") this.take(came, given, field);
  }

  /** What the server said to an answer. */
  take(came, given, field) {
    const { ask } = this;
    if (came.ok) {
      const edited = given.edited ? parseExactly(given.edited) : null;
      ask.answer ??= answerHere(given.decision, person, came.said.answered_at, { ...given, edited });
    } else if (TOO_LATE.has(came.code)) {
      ask.answer ??= answerElsewhere(came, ask);
    } else {
      const changed = "The call is no longer the one that you see. Open it again before you answer.";
      return this.complain(came.code === "arguments_changed" ? changed : [...errorsOf(came)], field);
    }
    this.show(ask, null, false);
    return this.settled(ask);
  }

  complain(what, field) {
    const lines = typeof what === "string" ? [what] : what.map(([name, words]) => (name ? `${name}: ${words}` : words));
    say(this.trouble, revealed(lines.join("\n")));
    this.trouble.hidden = false;
    field?.setAttribute("aria-invalid", "true");
    field?.focus({ preventScroll: true });
  }

  // --- answered ---

  drawOver(wasPending) {
    const { ask, state } = this;
    const { answer } = ask;
    const focused = wasPending && this.element.contains(document.activeElement);
    this.guard?.stop();
    this.guard = null;
    const name = make("bdi", { dir: "ltr", className: "call-name", text: this.name });
    const lasting = answer?.remember === "conversation" && answer.word === "allow" ? " for this conversation" : "";
    const words = make("span", { className: "ask-state" }, `${STATES[state]}${lasting} `, whoOf(answer, person), " ", answer ? moment(answer.at) : null);
    const summary = make("summary", {}, make("span", { className: "ask-mark", "aria-hidden": "true" }), name, words);
    const record = make("details", { className: "ask-record" }, summary);
    record.addEventListener("toggle", () => record.childElementCount === 1 && record.append(this.body()));
    this.element.removeAttribute("aria-labelledby");
    this.element.setAttribute("aria-label", `Approval: ${STATES[state]}`);
    this.element.replaceChildren(record);
    if (focused) summary.focus({ preventScroll: true });
  }

  body() {
    const { answer } = this.ask;
    const body = make("div", { className: "ask-body" }, ...this.reasons());
    if (answer?.note) body.append(make("p", {}, make("strong", { text: "Your note: " }), make("bdi", { text: answer.note })));
    body.append(make("h4", { text: answer?.edited ? "Asked for" : "Arguments" }), tree(this.ask.arguments));
    if (answer?.edited) body.append(make("h4", { text: "Allowed instead" }), tree(answer.edited));
    const digests = [make("span", {}, "Digest ", digestOf(this.ask.digest))];
    if (answer?.edited && answer.digest) digests.push(make("span", {}, "Allowed: ", digestOf(answer.digest)));
    body.append(make("p", { className: "ask-facts" }, ...digests));
    return body;
  }
}

function digestOf(digest) {
  return make("code", { dir: "ltr", title: digest, text: digest.replace(/^sha256:/u, "").slice(0, WHOLE) });
}

function mistakeIn(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? "" : "The arguments must be one JSON object.";
  } catch (error) {
    return `This is not JSON: ${error.message}`;
  }
}
