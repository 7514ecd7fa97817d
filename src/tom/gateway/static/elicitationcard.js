// The card of a service's question: a form, or a place to go to. What the service says stands as its words, as text.

import { errorsOf, reply } from "./answering.js";
import { STATES, TOO_LATE, answerElsewhere, answerHere, stateOf, whoOf } from "./asks.js";
import { dated, make, moment, person, revealed, revealedNodes, say } from "./dom.js";
import { fieldsOf, secretIn } from "./fields.js";
import { Guard } from "./guard.js";
import { icon } from "./icons.js";
import { tree } from "./tree.js";

export class ElicitationCard {
  /** `settled(ask)` is called when an answer was taken, or when somebody was faster. */
  constructor(settled) {
    this.settled = settled;
    this.element = make("section", { className: "ask question", role: "group" });
    this.state = "";
    this.guard = null;
    this.busy = false;
    this.fields = [];
  }

  /** Show `ask` as it stands; `over`: its run has ended. */
  show(ask, _call, over) {
    this.ask = ask;
    const state = stateOf(ask, null, over);
    if (state === this.state) return;
    const before = this.state;
    this.state = state;
    this.element.dataset.state = state;
    if (state === "pending") this.drawPending();
    else this.drawOver(before === "pending");
  }

  // --- waiting ---

  drawPending() {
    const { ask } = this;
    const service = make("bdi", { dir: "ltr", className: "call-name", text: revealed(ask.service) });
    const title = make("h3", { id: `ask-${ask.id}` }, icon("question"), make("span", {}, "The service ", service, " asks you something"));
    this.element.setAttribute("aria-labelledby", title.id);
    this.element.setAttribute("tabindex", "-1");
    this.trouble = make("p", { className: "ask-trouble", role: "alert", hidden: true });
    const parts = ask.mode === "url" ? this.drawPlace() : this.drawForm();
    const until = dated(ask.expiresAt);
    const facts = make("p", { className: "ask-facts" }, until ? make("span", {}, "Waits until ", until) : make("span", { text: "Does not expire" }));
    this.element.replaceChildren(title, this.quote(), ...parts, facts, this.trouble, this.buttons);
    this.guard?.stop();
    this.guard = new Guard(this.buttons);
  }

  quote() {
    const words = make("blockquote", { dir: "auto" }, ...revealedNodes(this.ask.message, { prose: true }));
    return make("figure", { className: "quote" }, words, make("figcaption", {}, "written by the service ", make("bdi", { dir: "ltr", text: revealed(this.ask.service) }), ", not by Tom"));
  }

  drawForm() {
    const secret = secretIn(this.ask.schema);
    if (secret !== null) {
      this.buttons = this.drawButtons(null);
      const words = `This form asks for a secret (“${revealed(secret)}”). Secrets are never entered here: a service must send you to a page of its own.`;
      return [make("p", { className: "ask-refused", text: words })];
    }
    this.fields = fieldsOf(this.ask.schema, `field-${this.ask.id}`);
    const send = make("button", { type: "submit", className: "allow", text: "Send answer" });
    const form = make("form", { id: `form-${this.ask.id}`, novalidate: "", className: "ask-form" }, ...this.fields.map((field) => field.element));
    send.setAttribute("form", form.id);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.buttons = this.drawButtons(send);
    return [form];
  }

  drawPlace() {
    const place = placeOf(this.ask.url);
    if (place === null) {
      this.buttons = this.drawButtons(null);
      const words = make("p", { className: "ask-refused", text: "The service names an address that is not opened from here:" });
      return [words, make("p", { className: "address", dir: "ltr" }, ...revealedNodes(this.ask.url))];
    }
    const open = make("a", { className: "button allow", href: place.href, target: "_blank", rel: "noopener noreferrer", text: `Open ${place.host}` });
    open.addEventListener("click", (event) => {
      if (!this.guard.ready) event.preventDefault();
      else done.hidden = false;
    });
    const done = make("button", { type: "button", text: "I am done there" });
    done.addEventListener("click", () => this.send("accept", null));
    this.buttons = this.drawButtons(open, done);
    const host = make("strong", { className: "host-name", dir: "ltr", text: place.host });
    const insecure = place.protocol === "http:" ? make("p", { className: "ask-refused", text: "The connection to it is not encrypted." }) : null;
    return [
      make("p", {}, "It wants to send you to ", host, ". Tom does not see what you enter there."),
      make("p", { className: "address", dir: "ltr" }, ...revealedNodes(place.href)),
      ...[insecure].filter(Boolean),
    ];
  }

  drawButtons(...first) {
    const decline = make("button", { type: "button", text: "Decline", title: "Say no to the service" });
    const cancel = make("button", { type: "button", className: "quiet", text: "Cancel", title: "End the question without an answer" });
    decline.addEventListener("click", () => this.send("decline", null));
    cancel.addEventListener("click", () => this.send("cancel", null));
    return make("div", { className: "ask-buttons" }, ...first, decline, cancel);
  }

  submit() {
    if (this.busy || !this.guard.ready) return;
    for (const field of this.fields) field.complain(field.mistake);
    const wrong = this.fields.find((field) => !field.wrong.hidden);
    if (wrong) {
      wrong.focus();
      return;
    }
    const given = this.fields.map((field) => [field.name, field.value]).filter(([, value]) => value !== undefined);
    this.send("accept", Object.fromEntries(given));
  }

  async send(outcome, content) {
    if (this.busy || !this.guard.ready) return;
    this.busy = true;
    this.element.setAttribute("aria-busy", "true");
    const came = await reply(this.ask, outcome, content);
    this.busy = false;
    this.element.removeAttribute("aria-busy");
    if (this.state === "pending") this.take(came, outcome, content);
  }

  take(came, outcome, content) {
    const { ask } = this;
    if (came.ok) {
      ask.answer ??= answerHere(outcome, person, came.said.answered_at, { content });
    } else if (TOO_LATE.has(came.code)) {
      ask.answer ??= answerElsewhere(came, ask);
    } else {
      this.complain(errorsOf(came));
      return;
    }
    this.show(ask, null, false);
    this.settled(ask);
  }

  /** Say each error beside its field, and the others below. */
  complain(errors) {
    const rest = [];
    let first = null;
    for (const [name, words] of errors) {
      const field = this.fields.find((one) => one.name === name || name.startsWith(`${one.name}.`));
      if (field) field.complain(revealed(words));
      else rest.push(name ? `${name}: ${words}` : words);
      first ??= field ?? null;
    }
    say(this.trouble, revealed(rest.join("\n")));
    this.trouble.hidden = rest.length === 0;
    first?.focus();
  }

  // --- answered ---

  drawOver(wasPending) {
    const { ask, state } = this;
    const focused = wasPending && this.element.contains(document.activeElement);
    this.guard?.stop();
    this.guard = null;
    this.fields = [];
    const name = make("bdi", { dir: "ltr", className: "call-name", text: revealed(ask.service) });
    const words = make("span", { className: "ask-state" }, `question ${STATES[state]} `, whoOf(ask.answer, person), " ", ask.answer ? moment(ask.answer.at) : null);
    const summary = make("summary", {}, make("span", { className: "ask-mark", "aria-hidden": "true" }), name, words);
    const record = make("details", { className: "ask-record" }, summary);
    record.addEventListener("toggle", () => record.childElementCount === 1 && record.append(this.body()));
    this.element.removeAttribute("aria-labelledby");
    this.element.setAttribute("aria-label", `Question: ${STATES[state]}`);
    this.element.replaceChildren(record);
    if (focused) summary.focus({ preventScroll: true });
  }

  body() {
    const { ask } = this;
    const body = make("div", { className: "ask-body" }, this.quote());
    if (ask.mode === "url") body.append(make("p", { className: "address", dir: "ltr" }, ...revealedNodes(ask.url)));
    if (ask.answer?.content) body.append(make("h4", { text: "Your answer" }), tree(ask.answer.content));
    return body;
  }
}

/** The address to go to; null when it is none that is opened from here. */
function placeOf(url) {
  try {
    const place = new URL(url);
    const safe = (place.protocol === "https:" || place.protocol === "http:") && !place.username && !place.password;
    return safe ? place : null;
  } catch {
    return null;
  }
}
