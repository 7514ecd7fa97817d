// The arguments of a service's prompt, asked for above the message.

import { make, revealed, revealedNodes } from "./dom.js";

export class PromptForm {
  /** `use(prompt, arguments)` sends it; `left()` is called when it is closed without. */
  constructor({ root, use, left }) {
    Object.assign(this, { root, use, left });
    this.prompt = null;
  }

  get open() {
    return !this.root.hidden;
  }

  /** Ask for the arguments of `prompt`. */
  ask(prompt) {
    this.prompt = prompt;
    const name = `/${prompt.service}:${prompt.prompt ?? prompt.name}`;
    const title = make("p", { className: "prompt-title", id: "prompt-title" }, make("bdi", { dir: "ltr", className: "call-name", text: revealed(name) }), " ", make("bdi", {}, ...revealedNodes(prompt.title ?? "", { prose: true })));
    const about = prompt.description ? make("p", { className: "field-hint", dir: "auto" }, ...revealedNodes(prompt.description, { prose: true })) : null;
    this.fields = prompt.arguments.map((one, index) => this.field(one, `prompt-${index}`));
    const send = make("button", { type: "submit", className: "allow", text: "Send" });
    const leave = make("button", { type: "button", text: "Cancel", onclick: () => this.close() });
    const form = make("form", { novalidate: "", "aria-labelledby": "prompt-title" }, title, about, ...this.fields.map(({ element }) => element), make("div", { className: "ask-buttons" }, send, leave));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      this.close();
    });
    this.root.replaceChildren(form);
    this.root.hidden = false;
    (this.fields[0]?.control ?? send).focus();
  }

  field({ name, description, required }, id) {
    const control = make("input", { type: "text", id, dir: "auto", autocomplete: "off", "aria-describedby": `${id}-hint ${id}-wrong`, "aria-required": required ? "true" : null });
    const label = make("label", { for: id }, make("bdi", { text: revealed(name) }), required ? null : make("span", { className: "optional", text: " (optional)" }));
    const hint = make("p", { className: "field-hint", id: `${id}-hint`, dir: "auto", hidden: !description }, ...revealedNodes(description, { prose: true }));
    const wrong = make("p", { className: "field-wrong", id: `${id}-wrong`, hidden: true, text: "This is needed." });
    return { name, required, control, wrong, element: make("div", { className: "field" }, label, hint, control, wrong) };
  }

  submit() {
    let first = null;
    for (const field of this.fields) {
      const missing = field.required && !field.control.value.trim();
      field.wrong.hidden = !missing;
      field.control.toggleAttribute("aria-invalid", missing);
      if (missing) first ??= field;
    }
    if (first) {
      first.control.focus();
      return;
    }
    const given = Object.fromEntries(this.fields.filter(({ control }) => control.value.trim()).map(({ name, control }) => [name, control.value]));
    const { prompt } = this;
    this.shut();
    this.use(prompt, given);
  }

  close() {
    this.shut();
    this.left();
  }

  shut() {
    this.root.hidden = true;
    this.root.replaceChildren();
  }
}
