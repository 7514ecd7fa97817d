// The inbox: a list of cards. Many can be denied at once; none can be allowed but by itself.

import { decide } from "./answering.js";
import { ApprovalCard } from "./approvalcard.js";
import { TOO_LATE, answerElsewhere, answerHere } from "./asks.js";
import { make, person, say } from "./dom.js";
import { ElicitationCard } from "./elicitationcard.js";

const KINDS = [["all", "All"], ["approval", "Calls"], ["elicitation", "Questions"]];

export class InboxView {
  /** `titleOf(conversationId)` names a conversation; `settled(ask)` hears of asks that were answered here. */
  constructor({ root, inbox, titleOf, settled }) {
    Object.assign(this, { root, inbox, titleOf, settled });
    this.rows = new Map();
    this.chosen = new Set();
    this.kind = "all";
    this.words = "";
    this.only = null;
    this.shown = false;
    this.build();
  }

  build() {
    this.heading = make("h2", { tabindex: "-1", text: "Waiting for you" });
    this.search = make("input", { type: "search", id: "inbox-search", placeholder: "Filter by service, tool or conversation", dir: "auto" });
    this.search.addEventListener("input", () => {
      this.words = this.search.value.trim().toLowerCase();
      this.draw();
    });
    const kinds = KINDS.map(([kind, text]) => make("button", { type: "button", text, "aria-pressed": String(kind === "all"), "data-kind": kind, onclick: () => this.choose(kind) }));
    this.kinds = make("div", { className: "kinds", role: "group", "aria-label": "Kind" }, ...kinds);
    const label = make("label", { className: "unseen", for: "inbox-search", text: "Filter" });
    this.filter = make("div", { className: "inbox-filter" }, label, this.search, this.kinds);
    this.denying = make("button", { type: "button", className: "deny", onclick: () => this.denyChosen() });
    this.batch = make("div", { className: "inbox-batch", hidden: true }, this.denying, make("button", { type: "button", className: "quiet", text: "Choose none", onclick: () => this.chooseNone() }));
    this.back = make("p", { hidden: true }, make("a", { href: "#/inbox", text: "All that waits for you" }));
    this.list = make("ul", { className: "inbox-list" });
    this.empty = make("p", { className: "inbox-empty", hidden: true });
    this.root.replaceChildren(this.heading, this.back, this.filter, this.batch, this.list, this.empty);
    this.drawBatch();
  }

  /** Open the inbox, or one ask of it. */
  open(only) {
    if (!this.shown) this.inbox.forget();
    this.only = only;
    this.shown = true;
    this.root.hidden = false;
    this.draw();
    this.heading.focus({ preventScroll: true });
  }

  close() {
    this.shown = false;
    this.root.hidden = true;
    this.chosen.clear();
    this.rows.clear();
    this.list.replaceChildren();
  }

  choose(kind) {
    this.kind = kind;
    for (const button of this.kinds.children) button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
    this.draw();
  }

  chooseNone() {
    this.chosen.clear();
    for (const row of this.rows.values()) if (row.box) row.box.checked = false;
    this.drawBatch();
  }

  draw() {
    if (!this.shown) return;
    const asks = this.inbox.all.filter((ask) => this.wants(ask));
    const wanted = new Set(asks.map((ask) => ask.id));
    for (const [id, row] of this.rows) if (!wanted.has(id)) this.drop(id, row);
    asks.forEach((ask, index) => {
      const row = this.row(ask);
      row.card.show(ask, null, Boolean(ask.over));
      say(row.name, this.titleOf(ask.conversationId));
      if (row.box && (ask.answer || ask.over)) this.unchoose(ask.id, row);
      if (this.list.children[index] !== row.element) this.list.insertBefore(row.element, this.list.children[index] ?? null);
    });
    this.filter.hidden = this.only !== null;
    this.back.hidden = this.only === null;
    this.empty.hidden = asks.length > 0 || !this.inbox.loaded;
    say(this.empty, this.emptyWords());
    this.drawBatch();
  }

  wants(ask) {
    if (this.only !== null) return ask.id === this.only;
    if (this.kind !== "all" && ask.kind !== this.kind) return false;
    const text = `${ask.service} ${ask.tool} ${this.titleOf(ask.conversationId)} ${ask.message}`.toLowerCase();
    return text.includes(this.words);
  }

  emptyWords() {
    if (this.only !== null) return "This does not wait for an answer any more. Its conversation tells what became of it.";
    return this.words || this.kind !== "all" ? "Nothing that waits fits the filter." : "Nothing waits for you.";
  }

  row(ask) {
    if (this.rows.has(ask.id)) return this.rows.get(ask.id);
    const card = ask.kind === "approval" ? new ApprovalCard(this.settled) : new ElicitationCard(this.settled);
    const name = make("bdi", {});
    const link = make("a", { href: `#/c/${encodeURIComponent(ask.conversationId)}` }, name);
    const head = make("div", { className: "inbox-head" }, make("span", {}, "In ", link));
    const row = { card, name, box: null, element: make("li", {}, head, card.element) };
    if (ask.kind === "approval" && this.only === null) {
      row.box = make("input", { type: "checkbox", "aria-label": `Choose ${ask.service} · ${ask.tool}` });
      row.box.addEventListener("change", () => {
        if (row.box.checked) this.chosen.add(ask.id);
        else this.chosen.delete(ask.id);
        this.drawBatch();
      });
      row.label = make("label", { className: "choice" }, row.box, "Choose");
      head.append(row.label);
    }
    this.rows.set(ask.id, row);
    return row;
  }

  drop(id, row) {
    row.element.remove();
    row.card.guard?.stop();
    this.rows.delete(id);
    this.chosen.delete(id);
  }

  unchoose(id, row) {
    this.chosen.delete(id);
    row.label.remove();
    row.box = null;
  }

  drawBatch() {
    this.batch.hidden = this.chosen.size === 0;
    say(this.denying, `Deny ${this.chosen.size} chosen`);
  }

  async denyChosen() {
    const asks = [...this.chosen].map((id) => this.inbox.get(id)).filter((ask) => ask && !ask.answer && !ask.over);
    for (const ask of asks) {
      const came = await decide(ask, { decision: "deny" });
      if (came.ok) ask.answer ??= answerHere("deny", person, came.said.answered_at);
      else if (TOO_LATE.has(came.code)) ask.answer ??= answerElsewhere(came, ask);
      else this.rows.get(ask.id)?.card.complain(came.message, null);
      this.settled(ask);
    }
    this.draw();
  }
}
