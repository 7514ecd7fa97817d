// A JSON value as a tree. Strings stand as they are, isolated, with unseen characters as escapes; nothing is markup.

import { make, revealedNodes } from "./dom.js";
import { Exact } from "./exact.js";

const LONG = 400;
const LINES = 8;
const MANY = 40;
const DEEP = 4;

/** The tree of a value; `none` is shown for an empty object. */
export function tree(value, none = "No arguments.") {
  const root = make("div", { className: "tree", dir: "ltr" });
  if (isBranch(value) && entriesOf(value).length === 0) root.append(make("p", { className: "none", text: none }));
  else root.append(isBranch(value) ? branch(value, 0) : leaf(value));
  return root;
}

const isBranch = (value) => value !== null && typeof value === "object" && !(value instanceof Exact);
const entriesOf = (value) => (Array.isArray(value) ? [...value.entries()] : Object.entries(value));

function branch(value, depth) {
  const list = make("ul");
  const entries = entriesOf(value);
  list.append(...entries.slice(0, MANY).map(([key, item]) => entry(key, item, depth)));
  const rest = entries.slice(MANY);
  if (rest.length > 0) {
    const more = make("button", { type: "button", className: "quiet", text: `Show ${rest.length} more` });
    more.addEventListener("click", () => more.parentElement.replaceWith(...rest.map(([key, item]) => entry(key, item, depth))));
    list.append(make("li", {}, more));
  }
  return list;
}

function entry(key, value, depth) {
  const name = make("span", { className: "key" }, make("bdi", { dir: "ltr" }, ...revealedNodes(String(key))));
  if (!isBranch(value)) return make("li", {}, name, leaf(value));
  const count = entriesOf(value).length;
  const size = Array.isArray(value) ? counted(count, "item") : counted(count, "field");
  if (count === 0) return make("li", {}, name, make("span", { className: "plain", text: size }));
  const inner = make("details", {}, make("summary", {}, name, make("span", { className: "plain", text: size })));
  if (depth < DEEP) {
    inner.open = true;
    inner.append(branch(value, depth + 1));
  } else {
    inner.addEventListener("toggle", () => inner.childElementCount === 1 && inner.append(branch(value, depth + 1)));
  }
  return make("li", {}, inner);
}

const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function leaf(value) {
  if (typeof value === "string") return string(value);
  const text = value instanceof Exact ? value.source : String(value);
  return make("span", { className: "plain", text });
}

/** Sentences run in their own direction; paths, addresses and names from left to right. */
function string(text) {
  const shown = make("bdi", { className: "string", dir: /\s/u.test(text) ? "auto" : "ltr" });
  const short = shortened(text);
  shown.append(...revealedNodes(short));
  if (short === text) return shown;
  const whole = make("button", { type: "button", className: "quiet", text: `Show all ${text.length} characters` });
  shown.classList.add("cut");
  whole.addEventListener("click", () => {
    shown.classList.remove("cut");
    shown.replaceChildren(...revealedNodes(text));
    whole.remove();
  });
  return make("span", { className: "folded" }, shown, whole);
}

function shortened(text) {
  const lines = text.split("\n");
  const few = lines.length > LINES ? lines.slice(0, LINES).join("\n") : text;
  if (few.length <= LONG) return few;
  return few.slice(0, LONG).replace(/[\ud800-\udbff]$/u, "");
}
