// The fields of a service's form: made from the schema that it sent, read back as the values that the schema wants.

import { make, revealed, revealedNodes } from "./dom.js";

const SECRET = /pass\s*(word|phrase|code)|\bpass\b|secret|credential|api[\s_-]*key|private[\s_-]*key|(access|auth|bearer)[\s_-]*token|\btoken\b|\bpin\b|\botp\b|\bcvv\b|\bcvc\b/iu;
const TYPES = { email: "email", uri: "url", date: "date", "date-time": "datetime-local" };
const NUMBERS = new Set(["number", "integer"]);

/** Whether a form asks for something that must not pass through a form. Answers the field's name; null when not. */
export function secretIn(schema) {
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const words = [name.replaceAll("_", " "), name, field?.title].filter(Boolean).join(" ");
    if (field?.format === "password" || field?.writeOnly === true || SECRET.test(words)) return field?.title || name;
  }
  return null;
}

/** The fields of a form, in the order of its schema. */
export function fieldsOf(schema, prefix) {
  const required = new Set(Array.isArray(schema.required) ? schema.required : []);
  return Object.entries(schema.properties ?? {}).map(([name, field], index) => new Field(name, field ?? {}, required.has(name), `${prefix}-${index}`));
}

/** The choices of a field: [[value, words]], null when it is none. */
function choicesOf(field) {
  const titled = field.oneOf ?? field.anyOf;
  if (Array.isArray(titled) && titled.every((one) => one?.const !== undefined)) return titled.map((one) => [one.const, one.title ?? one.const]);
  if (!Array.isArray(field.enum)) return null;
  return field.enum.map((value, index) => [value, field.enumNames?.[index] ?? value]);
}

/** Digits of Persian and Arabic keyboards count like any others. */
function plainDigits(text) {
  return text
    .replace(/[\u06f0-\u06f9]/gu, (digit) => digit.codePointAt(0) - 0x06f0)
    .replace(/[\u0660-\u0669]/gu, (digit) => digit.codePointAt(0) - 0x0660)
    .replace(/\u066b/gu, ".")
    .replace(/[\u066c\s]/gu, "");
}

class Field {
  constructor(name, schema, required, id) {
    Object.assign(this, { name, schema, required, id });
    this.choices = choicesOf(schema);
    this.many = schema.type === "array" ? (choicesOf(schema.items ?? {}) ?? []) : null;
    this.wrong = make("p", { className: "field-wrong", id: `${id}-wrong`, hidden: true });
    this.control = this.makeControl();
    this.element = this.makeElement();
  }

  makeElement() {
    const { schema, many } = this;
    const title = [make("bdi", {}, ...revealedNodes(String(schema.title ?? this.name), { prose: true })), this.required ? null : make("span", { className: "optional", text: " (optional)" })];
    const hint = schema.description ? make("p", { className: "field-hint", dir: "auto", id: `${this.id}-hint` }, ...revealedNodes(String(schema.description), { prose: true })) : null;
    const label = many ? make("legend", {}, ...title) : make("label", { for: this.id }, ...title);
    return make(many ? "fieldset" : "div", { className: "field" }, label, hint, this.control, this.wrong);
  }

  makeControl() {
    const { schema, id } = this;
    const described = { "aria-describedby": `${id}-wrong${schema.description ? ` ${id}-hint` : ""}`, "aria-required": this.required ? "true" : null };
    if (this.many) return this.makeBoxes();
    if (this.choices || schema.type === "boolean") return this.makeSelect(described);
    if (NUMBERS.has(schema.type)) {
      const value = schema.default === undefined ? null : String(schema.default);
      return make("input", { id, type: "text", inputmode: schema.type === "integer" ? "numeric" : "decimal", dir: "ltr", autocomplete: "off", value, ...described });
    }
    const type = TYPES[schema.format] ?? "text";
    const value = typeof schema.default === "string" ? (type === "datetime-local" ? localTime(schema.default) : schema.default) : null;
    const dir = type === "text" ? "auto" : "ltr";
    const autocomplete = type === "email" ? "email" : "off";
    return make("input", { id, type, dir, autocomplete, value, step: type === "datetime-local" ? "1" : null, ...described });
  }

  makeSelect(described) {
    const choices = this.choices ?? [[true, "Yes"], [false, "No"]];
    const select = make("select", { id: this.id, ...described }, make("option", { value: "", text: "—" }));
    choices.forEach(([value, words], index) => {
      const selected = this.schema.default === value ? "" : null;
      select.append(make("option", { value: String(index), selected, text: revealed(String(words)) }));
    });
    this.values = choices.map(([value]) => value);
    return select;
  }

  makeBoxes() {
    const chosen = new Set(Array.isArray(this.schema.default) ? this.schema.default : []);
    const boxes = this.many.map(([value, words]) => {
      const box = make("input", { type: "checkbox", checked: chosen.has(value) ? "" : null });
      return make("label", { className: "choice" }, box, make("bdi", {}, ...revealedNodes(String(words), { prose: true })));
    });
    return make("div", { id: this.id, className: "boxes" }, ...boxes);
  }

  /** The value; undefined when nothing was entered. */
  get value() {
    if (this.many) {
      const boxes = [...this.control.querySelectorAll("input")];
      const chosen = this.many.filter((_, index) => boxes[index].checked).map(([value]) => value);
      return chosen.length === 0 && !this.required ? undefined : chosen;
    }
    const text = this.control.value;
    if (this.values) return text === "" ? undefined : this.values[Number(text)];
    if (text.trim() === "") return undefined;
    if (NUMBERS.has(this.schema.type)) return Number(plainDigits(text));
    if (this.schema.format === "date-time") return new Date(text).toISOString();
    return text;
  }

  /** What is wrong with what was entered; "" when nothing is. */
  get mistake() {
    const { schema, control } = this;
    if (control.validity?.badInput) return "This is not complete.";
    const { value } = this;
    if (value === undefined) return this.required ? "This is needed." : "";
    if (this.many) return countMistake(value.length, schema);
    if (typeof value === "number" && NUMBERS.has(schema.type)) return numberMistake(value, schema);
    if (typeof value !== "string" || this.values) return "";
    const length = [...value].length;
    if (length < (schema.minLength ?? 0)) return `At least ${schema.minLength} characters are needed.`;
    if (length > (schema.maxLength ?? Infinity)) return `At most ${schema.maxLength} characters fit.`;
    if (control.validity?.typeMismatch) return control.type === "email" ? "This is no e-mail address." : "This is no address (https://…).";
    return "";
  }

  /** Say what is wrong beside the field; "" takes it back. */
  complain(words) {
    this.wrong.textContent = words;
    this.wrong.hidden = words === "";
    if (words) this.control.setAttribute("aria-invalid", "true");
    else this.control.removeAttribute("aria-invalid");
  }

  focus() {
    (this.many ? this.control.querySelector("input") : this.control)?.focus();
  }
}

function numberMistake(value, { type, minimum = -Infinity, maximum = Infinity }) {
  if (!Number.isFinite(value)) return "This is no number.";
  if (type === "integer" && !Number.isInteger(value)) return "A whole number is needed.";
  if (value < minimum) return `At least ${minimum} is needed.`;
  return value > maximum ? `At most ${maximum} is possible.` : "";
}

function countMistake(count, { minItems = 0, maxItems = Infinity }) {
  if (count < minItems) return `Choose at least ${minItems}.`;
  return count > maxItems ? `Choose at most ${maxItems}.` : "";
}

/** A point in time as the field of the browser wants it. */
function localTime(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return null;
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}
