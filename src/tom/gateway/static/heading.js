// The title of the document and of the room, and how much waits for the person.

import { byId, say } from "./dom.js";

const LAMP = "● ";

export class Heading {
  constructor() {
    this.title = "";
    this.count = 0;
    this.unread = false;
    document.addEventListener("visibilitychange", () => !document.hidden && this.setUnread(false));
  }

  setTitle(title) {
    this.title = title;
    say(byId("title"), title);
    this.show();
  }

  /** So many asks wait for the person. */
  setCount(count) {
    this.count = count;
    say(byId("inbox-count"), count > 99 ? "99+" : String(count));
    byId("inbox-count").hidden = count === 0;
    const words = count === 0 ? "nothing waits for you" : count === 1 ? "one waits for you" : `${count} wait for you`;
    byId("inbox-link").setAttribute("aria-label", `Inbox, ${words}`);
    this.show();
  }

  /** Something happened while nobody looked. */
  setUnread(unread) {
    this.unread = unread && document.hidden;
    this.show();
  }

  show() {
    const count = this.count > 0 ? `(${this.count}) ` : "";
    document.title = `${this.unread ? LAMP : ""}${count}${this.title} · Tom`;
  }
}
