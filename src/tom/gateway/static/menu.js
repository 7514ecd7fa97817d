// The list above the message while it begins with "/". The focus stays in the message.

import { make, revealed, revealedNodes, say } from "./dom.js";

const TYPED = /^\/([^\s/]*)$/u;
const MOST = 50;

export class Menu {
  /** `chosen(offer)` takes what was chosen; `announce(text)` tells how many fit. */
  constructor({ root, field, commands, chosen, announce }) {
    Object.assign(this, { root, field, commands, chosen, announce });
    this.offers = [];
    this.at = 0;
    this.dismissed = "";
    this.list = make("ul", { role: "listbox", id: "menu-list", "aria-label": "Commands" });
    this.why = make("p", { className: "menu-why", hidden: true });
    root.replaceChildren(this.list, this.why);
    field.setAttribute("aria-autocomplete", "list");
    field.setAttribute("aria-controls", "menu-list");
    field.addEventListener("blur", () => this.close());
  }

  get open() {
    return !this.root.hidden;
  }

  /** The message is another one now. */
  update() {
    const found = TYPED.exec(this.field.value);
    if (!found || this.dismissed === this.field.value || document.activeElement !== this.field) {
      if (!found) this.dismissed = "";
      this.close();
      return;
    }
    this.fill(found[1]);
    this.commands.load().then((fresh) => fresh && this.update());
  }

  fill(typed) {
    const names = this.offers.map((offer) => offer.name).join();
    this.offers = this.commands.matching(typed).slice(0, MOST);
    if (this.offers.map((offer) => offer.name).join() !== names || !this.open) this.at = 0;
    this.root.hidden = this.offers.length === 0 && !this.commands.trouble;
    this.why.hidden = !this.commands.trouble;
    say(this.why, this.commands.trouble);
    this.draw();
  }

  draw() {
    this.list.replaceChildren(...this.offers.map((offer, index) => this.option(offer, index)));
    this.mark();
    const count = this.offers.length;
    this.announce(`${count} ${count === 1 ? "command fits" : "commands fit"}.`);
  }

  option({ name, title, description }, index) {
    const words = [title, description].filter(Boolean).join(": ");
    const option = make(
      "li",
      { role: "option", id: `menu-${index}` },
      make("bdi", { className: "menu-name", dir: "ltr", text: revealed(`/${name}`) }),
      make("bdi", { className: "menu-words" }, ...revealedNodes(words.slice(0, 200), { prose: true })),
    );
    option.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays where it is
    option.addEventListener("click", () => this.choose(index));
    return option;
  }

  mark() {
    [...this.list.children].forEach((option, index) => option.setAttribute("aria-selected", String(index === this.at)));
    const current = this.list.children[this.at];
    if (current && this.open) this.field.setAttribute("aria-activedescendant", current.id);
    current?.scrollIntoView({ block: "nearest" });
  }

  close() {
    this.root.hidden = true;
    this.field.removeAttribute("aria-activedescendant");
  }

  choose(index) {
    const offer = this.offers[index];
    this.close();
    if (offer) this.chosen(offer);
  }

  /** Take a key of the message; answers whether it was for the list. */
  pressed(event) {
    if (!this.open || event.isComposing || event.shiftKey || event.ctrlKey || event.altKey || event.metaKey) return false;
    if (event.key === "Escape") {
      this.dismissed = this.field.value;
      this.close();
      return true;
    }
    if (this.offers.length === 0) return false;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.at = (this.at + (event.key === "ArrowDown" ? 1 : this.offers.length - 1)) % this.offers.length;
      this.mark();
      return true;
    }
    if (event.key !== "Enter" && event.key !== "Tab") return false;
    this.choose(this.at);
    return true;
  }
}
