// Small ways to make elements. Text always goes in as text.

/** Make an element. Properties whose value is null or undefined are left out. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (name === "hidden") element.hidden = value;
    else element.setAttribute(name === "className" ? "class" : name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The element of the document with this id. */
export const byId = (id) => document.getElementById(id);

/** Change the text only when it differs, so that nothing is announced or redrawn for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const REORDERING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
const JOINED = /(?<=\p{Script=Arabic})\u200c(?=\p{Script=Arabic})/gu; // between these letters it is seen: it parts them
const UNSEEN = /(?![\n\t ])[\p{DI}\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Z}\u2800]/gu;

/** How a character that is not seen is written. */
function written(character) {
  const code = character.codePointAt(0).toString(16);
  return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
}

/** Spell out the characters that reorder text unseen: names and results are read as they are. */
export function spelled(text) {
  return text.replace(REORDERING, written);
}

/** Spell out every character that is not seen, or looks like another: for what somebody is to say yes to. */
export function revealed(text) {
  return text.replace(UNSEEN, written);
}

/** The nodes of a text whose unseen characters stand out as escapes; in `prose` Persian keeps its non-joiners. */
export function revealedNodes(text, { prose = false } = {}) {
  const nodes = [];
  let after = 0;
  const joined = new Set(prose ? [...text.matchAll(JOINED)].map((found) => found.index) : []);
  for (const found of text.matchAll(UNSEEN)) {
    if (joined.has(found.index)) continue;
    if (found.index > after) nodes.push(text.slice(after, found.index));
    nodes.push(make("span", { className: "escape", dir: "ltr", text: written(found[0]) }));
    after = found.index + found[0].length;
  }
  nodes.push(text.slice(after));
  return nodes;
}

/** JSON in which unseen characters are escapes: it says the same, and can be read. */
export function readableJson(json) {
  const unit = (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return json.replace(UNSEEN, (found) => [...Array(found.length).keys()].map((index) => unit(found[index])).join(""));
}

const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const days = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

/** A <time> of an RFC 3339 text; null when it is none. */
export function moment(text) {
  const date = new Date(text ?? "");
  if (Number.isNaN(date.getTime())) return null;
  return make("time", { datetime: text, title: full.format(date), text: hours.format(date) });
}

/** A <time> with its day, for what lies further away. */
export function dated(text) {
  const shown = moment(text);
  if (shown) shown.textContent = days.format(new Date(text));
  return shown;
}

/** Milliseconds for people. */
export function lasted(milliseconds) {
  if (!Number.isFinite(milliseconds)) return "";
  return milliseconds < 950 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

/** Go to the login form and come back here afterwards. */
export function logIn() {
  location.assign(`/auth?next=${encodeURIComponent("/")}`);
}

/** Whose page this is. */
export const person = document.body.dataset.user;

/** Values of this person, kept for this tab; works without storage, and then forgets on reload. */
export const kept = {
  read(key) {
    try {
      return JSON.parse(sessionStorage.getItem(`${person} ${key}`) ?? "null");
    } catch {
      return null;
    }
  },
  write(key, value) {
    try {
      if (value === null || value === "") sessionStorage.removeItem(`${person} ${key}`);
      else sessionStorage.setItem(`${person} ${key}`, JSON.stringify(value));
    } catch {
      // Storage is full or switched off: the page goes on from memory.
    }
  },
  clear() {
    try {
      sessionStorage.clear();
    } catch {
      // There is none.
    }
  },
};
