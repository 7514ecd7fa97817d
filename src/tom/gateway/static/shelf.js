// The list of conversations, newest first, by day.

import { logIn, make } from "./dom.js";
import { icon } from "./icons.js";

const PAGE = 50;
const DAY = 86400000;
const CALM = 400;
const names = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const dates = new Intl.DateTimeFormat(undefined, { month: "long", year: "numeric" });

function dayOf(text) {
  const date = new Date(text ?? Date.now());
  const today = new Date().setHours(0, 0, 0, 0);
  const days = Math.round((today - new Date(date).setHours(0, 0, 0, 0)) / DAY);
  if (days <= 1) return names.format(-Math.max(days, 0), "day");
  return days < 7 ? "Last 7 days" : dates.format(date);
}

export class Shelf {
  constructor({ root, onList }) {
    Object.assign(this, { root, onList });
    this.pages = 1;
    this.sessions = [];
    this.next = null;
    this.current = null;
    this.timer = 0;
  }

  /** The title of a conversation in the list. */
  title(id) {
    return this.sessions.find((session) => session.id === id)?.title || "";
  }

  /** A conversation has another title. */
  rename(id, title) {
    const session = this.sessions.find((one) => one.id === id);
    if (!session) return;
    session.title = title;
    this.draw();
  }

  /** Mark the open one. */
  turnTo(id) {
    this.current = id;
    this.draw();
  }

  /** Something changed: ask again soon, and once for many changes. */
  refresh() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), CALM);
  }

  async load() {
    const sessions = [];
    let before = null;
    for (let page = 0; page < this.pages; page += 1) {
      const answer = await this.fetchPage(before);
      if (!answer) return;
      sessions.push(...answer.sessions);
      before = answer.next;
      if (!before) break;
    }
    this.sessions = sessions;
    this.next = before;
    this.draw();
    this.onList();
  }

  async fetchPage(before) {
    const query = new URLSearchParams({ limit: PAGE, ...(before ? { before } : {}) });
    try {
      const answer = await fetch(`/sessions?${query}`, { headers: { Accept: "application/json" } });
      if (answer.status === 401) logIn();
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }

  draw() {
    const parts = [];
    let list = null;
    let day = "";
    for (const session of this.sessions) {
      const name = dayOf(session.updated_at);
      if (name !== day) {
        day = name;
        list = make("ul");
        parts.push(make("h2", { text: name }), list);
      }
      list.append(make("li", {}, this.link(session)));
    }
    if (parts.length === 0) parts.push(make("p", { className: "empty", text: "No conversations yet." }));
    if (this.next) parts.push(make("button", { type: "button", className: "quiet", text: "Show older", onclick: () => this.older() }));
    const focused = document.activeElement?.dataset?.id;
    this.root.replaceChildren(...parts);
    if (focused) this.root.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  }

  link(session) {
    const current = session.id === this.current ? "page" : null;
    const href = `#/c/${encodeURIComponent(session.id)}`;
    const title = make("span", { className: "session-title", dir: "auto", text: session.title || "Untitled" });
    const link = make("a", { href, "aria-current": current, "data-id": session.id }, title);
    const words = { running: "answering", waiting: "waits for you" }[session.state];
    if (!words) return link;
    const waits = session.state === "waiting";
    const mark = make("span", { className: waits ? "waits" : "busy", title: words }, make("span", { className: "unseen", text: `, ${words}` }));
    if (waits) mark.prepend(icon("hand"));
    link.append(mark);
    return link;
  }

  older() {
    this.pages += 1;
    this.load();
  }
}
