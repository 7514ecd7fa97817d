// The transcript: runs in order, then what is not stored yet. Drawn at most once a frame.

import { make } from "./dom.js";
import { RunView, askedArticle, attachmentList } from "./runview.js";

const NEAR_END = 24;

export class Transcript {
  /**
   * `retry(runId)`, `again(requestId)` and `discard(requestId)` are the buttons in it; `settled(ask)` hears of asks
   * that were answered in it.
   */
  constructor({ root, scroller, latest, press, retry, again, discard, settled }) {
    Object.assign(this, { root, scroller, latest, press, retry, again, discard, settled });
    this.conversationId = null;
    this.pendingBox = make("div", { className: "pending-box" });
    this.notices = make("div", { className: "notices" });
    this.following = true;
    this.drawing = 0;
    this.lastTop = 0;
    this.clear();
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    latest.addEventListener("click", () => this.follow());
    new ResizeObserver(() => this.keepUp()).observe(root);
  }

  clear() {
    this.views = new Map();
    this.dirty = new Set();
    this.story = null;
    this.pending = new Map();
    this.notices.replaceChildren();
    this.pendingBox.replaceChildren();
    this.root.replaceChildren(this.pendingBox, this.notices);
    this.following = true;
    this.latest.hidden = true;
  }

  /** Show another story, or the same one with an earlier part in front: the reader's place is kept. */
  tell(story, conversationId) {
    const fromEnd = this.scroller.scrollHeight - this.scroller.scrollTop;
    const place = this.following;
    this.clear();
    this.story = story;
    this.conversationId = conversationId;
    this.following = place;
    for (const id of story.runs.keys()) this.dirty.add(id);
    this.draw();
    if (!place) this.scroller.scrollTop = this.scroller.scrollHeight - fromEnd;
  }

  /** This run, or all, changed. */
  touch(runId) {
    if (runId) this.dirty.add(runId);
    else for (const id of this.story.runs.keys()) this.dirty.add(id);
    if (!this.drawing) this.drawing = requestAnimationFrame(() => this.draw());
  }

  /** Messages that the server has not acknowledged: Map(requestId -> {text, state, error}). */
  showPending(pending) {
    this.pendingBox.replaceChildren(...[...pending].map(([id, message]) => this.pendingArticle(id, message)));
  }

  pendingArticle(id, { text, state, error, attachments = [] }) {
    const article = askedArticle(text, make("span", { text: state === "sending" ? "Sending…" : "" }));
    if (attachments.length > 0) article.querySelector(".words").before(attachmentList(this.conversationId, attachments));
    article.classList.add("pending");
    if (state !== "refused") return article;
    const again = make("button", { type: "button", text: "Try again", onclick: () => this.again(id) });
    const discard = make("button", { type: "button", className: "quiet", text: "Discard", onclick: () => this.discard(id) });
    article.append(make("div", { className: "trouble" }, make("p", { text: error, role: "alert" }), again, discard));
    return article;
  }

  /** Something to know that belongs to no message. */
  notice(text) {
    this.notices.append(make("p", { className: "notice", role: "alert", text }));
  }

  draw() {
    cancelAnimationFrame(this.drawing);
    this.drawing = 0;
    this.lastTop = 0;
    let ahead = 0;
    for (const [id, run] of this.story?.runs ?? []) {
      if (this.dirty.has(id)) this.view(id).show(run, ahead);
      if (run.state === "running" || run.state === "queued" || run.state === "waiting") ahead += 1;
    }
    this.dirty.clear();
    this.keepUp();
  }

  view(id) {
    if (!this.views.has(id)) {
      const view = new RunView(this.conversationId, this);
      this.views.set(id, view);
      this.pendingBox.before(view.element);
    }
    return this.views.get(id);
  }

  /** Bring the first card that waits into sight; answers whether there is one. */
  showAsk() {
    const card = this.root.querySelector('.ask[data-state="pending"]');
    card?.scrollIntoView({ block: "center" });
    card?.focus({ preventScroll: true });
    return Boolean(card);
  }

  // --- following the end ---

  scrolled() {
    const top = this.scroller.scrollTop;
    const left = this.scroller.scrollHeight - this.scroller.clientHeight - top;
    if (left <= NEAR_END) this.following = true;
    else if (top < this.lastTop) this.following = false; // the reader went up; text that grows moves nothing
    this.lastTop = top;
    this.latest.hidden = this.following;
  }

  follow() {
    this.following = true;
    this.keepUp();
  }

  keepUp() {
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
    else this.latest.hidden = false;
  }
}
