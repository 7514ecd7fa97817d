// The socket: opened, kept alive, opened again. Says what it is doing and never gives up.

import { logIn } from "./dom.js";
import { parseSent } from "./exact.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30000;
const BEAT = 25000;
const PATIENCE = 10000;
const RESTART = 1012;
const LOGIN_ENDED = 4401;

export class Wire {
  /** `onFrame(frame)`, `onOpen()`, `onState(state, seconds)` with connecting | live | waiting | offline. */
  constructor({ onFrame, onOpen, onState }) {
    Object.assign(this, { onFrame, onOpen, onState });
    this.socket = null;
    this.wait = FIRST_WAIT;
    this.timer = 0;
    this.beat = 0;
    this.deadline = 0;
    window.addEventListener("online", () => this.retryNow());
    window.addEventListener("offline", () => this.onState("offline"));
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.look();
    });
  }

  get live() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  open() {
    clearTimeout(this.timer);
    this.onState("connecting");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws/chat`);
    this.socket = socket;
    let opened = false;
    socket.addEventListener("open", () => {
      opened = true;
      this.onState("live");
      this.beat = setInterval(() => this.ping(), BEAT);
      this.onOpen();
    });
    socket.addEventListener("message", (event) => {
      this.wait = FIRST_WAIT;
      clearTimeout(this.deadline);
      this.onFrame(parseSent(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (this.socket === socket) this.closed(event.code, opened);
    });
  }

  /** Send an action; false when there is no connection, and then nothing was sent. */
  send(action, payload, requestId) {
    if (!this.live) return false;
    this.socket.send(JSON.stringify({ action, request_id: requestId, payload }));
    return true;
  }

  /** Do not wait any longer for the next attempt. */
  retryNow() {
    if (this.live || this.socket?.readyState === WebSocket.CONNECTING) return;
    this.wait = FIRST_WAIT;
    this.open();
  }

  /** The page is looked at again: a sleeping device may hold a dead connection. */
  look() {
    if (this.live) this.ping();
    else this.retryNow();
  }

  ping() {
    if (!this.send("ping", {}, "ping")) return;
    clearTimeout(this.deadline);
    this.deadline = setTimeout(() => this.drop(), PATIENCE);
  }

  /** Nothing comes back: do not wait for the closing handshake of a dead peer. */
  drop() {
    const dead = this.socket;
    this.socket = null;
    dead?.close();
    this.closed(1006, true);
  }

  closed(code, opened) {
    clearInterval(this.beat);
    clearTimeout(this.deadline);
    clearTimeout(this.timer);
    this.socket = null;
    if (code === LOGIN_ENDED) return logIn();
    if (!opened) this.askWhetherLoggedIn();
    const pause = code === RESTART && this.wait === FIRST_WAIT ? 100 : this.wait * (0.8 + 0.4 * Math.random());
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
    this.onState(navigator.onLine ? "waiting" : "offline", Math.ceil(pause / 1000));
    this.timer = setTimeout(() => this.open(), pause);
    return undefined;
  }

  /** A refused upgrade does not say why; an ordinary request does. */
  async askWhetherLoggedIn() {
    try {
      const answer = await fetch("/sessions?limit=1", { headers: { Accept: "application/json" } });
      if (answer.status === 401) logIn();
    } catch {
      // No network: the next attempt will tell.
    }
  }
}
