// Markdown, rendered and sanitised by the server, shown block by block while it is still being written.

import { logIn, make } from "./dom.js";

const MOST_TEXTS = 50;
const MOST_UNITS = 300000;
const PAUSE = 150;
const KEPT = 200;

const KNOWN = new Set(
  "P BR HR H3 H4 H5 H6 STRONG EM S CODE PRE UL OL LI BLOCKQUOTE DIV TABLE THEAD TBODY TR TH TD A SPAN".split(" "),
);
const ATTRIBUTES = new Set(["dir", "class", "start", "data-language", "href", "target", "rel"]);
const BLOCKS = "p,h3,h4,h5,h6,ul,ol,li,blockquote,pre,pre>code,div,table,tbody,tr,td";

const policy = window.trustedTypes?.createPolicy("tom", { createHTML: (html) => html }) ?? { createHTML: (html) => html };

/** Rebuild what the server sent from known elements and attributes only: a second wall behind its sanitiser. */
function rebuilt(node) {
  if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data);
  if (node.nodeType !== Node.ELEMENT_NODE || !KNOWN.has(node.tagName)) return document.createTextNode("");
  const copy = document.createElement(node.tagName);
  for (const { name, value } of node.attributes) {
    if (!ATTRIBUTES.has(name)) continue;
    if (name === "href" && !/^(https?:|mailto:)/i.test(value)) continue;
    copy.setAttribute(name, value);
  }
  copy.append(...[...node.childNodes].map(rebuilt));
  return copy;
}

function fragmentOf(html) {
  const parsed = new DOMParser().parseFromString(policy.createHTML(html), "text/html");
  const fragment = document.createDocumentFragment();
  fragment.append(...[...parsed.body.childNodes].map(rebuilt));
  return fragment;
}

/** Asks the server to render texts, many at once, and remembers the last ones. */
export class Press {
  constructor() {
    this.queue = [];
    this.busy = false;
    this.known = new Map();
  }

  /** Resolves to a fragment; to null when the text cannot be rendered and should stay as it is. */
  render(text) {
    const known = this.known.get(text);
    if (known !== undefined) return Promise.resolve(fragmentOf(known));
    return new Promise((resolve) => {
      this.queue.push({ text, resolve });
      if (!this.busy) {
        this.busy = true;
        queueMicrotask(() => this.work());
      }
    });
  }

  async work() {
    let wait = 1000;
    while (this.queue.length > 0) {
      const batch = this.batch();
      const html = await this.post(batch.map((item) => item.text));
      if (html === undefined) {
        this.queue.unshift(...batch);
        await new Promise((resolve) => setTimeout(resolve, wait));
        wait = Math.min(wait * 2, 30000);
        continue;
      }
      wait = 1000;
      batch.forEach((item, index) => this.settle(item, html?.[index]));
    }
    this.busy = false;
  }

  batch() {
    let units = 0;
    let count = 0;
    while (count < this.queue.length && count < MOST_TEXTS) {
      units += this.queue[count].text.length;
      if (count > 0 && units > MOST_UNITS) break;
      count += 1;
    }
    return this.queue.splice(0, count);
  }

  /** The rendered texts; null when the server refuses them, undefined when it should be asked again. */
  async post(texts) {
    try {
      const answer = await fetch("/page/render", {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Tom-Client": "page" },
        body: JSON.stringify({ markdown: texts }),
      });
      if (answer.ok) return (await answer.json()).html;
      if (answer.status === 401) logIn();
      return answer.status >= 500 || answer.status === 429 ? undefined : null;
    } catch {
      return undefined;
    }
  }

  settle({ text, resolve }, html) {
    if (typeof html !== "string") return resolve(null);
    this.known.set(text, html);
    if (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
    return resolve(fragmentOf(html));
  }
}

/** One text in the page: words appear as they come, and take their form a moment later. */
export class Prose {
  constructor(press) {
    this.press = press;
    this.element = make("div", { className: "prose" });
    this.text = "";
    this.formed = "";
    this.tail = null;
    this.busy = false;
    this.next = 0;
  }

  show(text) {
    if (text === this.text) return;
    this.text = text;
    if (!text.startsWith(this.formed)) {
      this.formed = "";
      this.element.replaceChildren();
    }
    this.showTail();
    this.form();
  }

  async form() {
    if (this.busy) return;
    this.busy = true;
    while (this.text !== this.formed) {
      const pause = this.next - performance.now();
      if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
      const text = this.text;
      const began = performance.now();
      const fragment = await this.press.render(text);
      // A slow server is asked less often: rendering never takes more than a third of the time.
      this.next = performance.now() + Math.max(PAUSE, 2 * (performance.now() - began));
      if (fragment === null) break;
      if (!this.text.startsWith(text)) continue;
      this.formed = text;
      this.replace(fragment);
      this.showTail();
    }
    this.busy = false;
  }

  /** Exchange only the blocks that differ, so that a selection in the others survives. */
  replace(fragment) {
    this.tail?.remove();
    const old = [...this.element.childNodes];
    const fresh = [...fragment.childNodes];
    let same = 0;
    while (same < old.length && same < fresh.length && old[same].isEqualNode(fresh[same])) same += 1;
    for (const node of old.slice(same)) node.remove();
    this.element.append(...fresh.slice(same));
  }

  /** The words that have no form yet go on where the formed ones end. */
  showTail() {
    this.tail?.remove();
    const rest = this.text.slice(this.formed.length);
    if (!rest.trim()) return;
    let place = this.element;
    while (place.lastElementChild?.matches(BLOCKS)) place = place.lastElementChild;
    this.tail = make(place === this.element ? "p" : "span", { className: "tail", dir: "auto", text: rest });
    place.append(this.tail);
  }
}
