// The page: puts its parts together.

import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { byId, kept, say } from "./dom.js";
import { Outbox } from "./outbox.js";
import { Press } from "./prose.js";
import { Shelf } from "./shelf.js";
import { isOver } from "./story.js";
import { Transcript } from "./transcript.js";
import { Wire } from "./wire.js";

const NEW = "New conversation";
const STATES = {
  live: () => "Connected",
  connecting: () => "Connecting…",
  waiting: (seconds) => `Reconnecting in ${seconds} s`,
  offline: () => "Offline",
};

const announce = (text) => say(byId("said"), text);

const transcript = new Transcript({
  root: byId("transcript"),
  scroller: byId("scroller"),
  latest: byId("latest"),
  press: new Press(),
  retry: (runId) => conversation.retry(runId),
  again: (requestId) => conversation.again(requestId),
  discard: (requestId) => conversation.discard(requestId),
});

const wire = new Wire({
  onFrame: (frame) => conversation.hear(frame),
  onOpen: () => {
    conversation.reconnected();
    shelf.refresh();
  },
  onState: showConnection,
});

const shelf = new Shelf({ root: byId("conversations"), onList: () => showTitle() });

const conversation = new Conversation({
  transcript,
  wire,
  outbox: new Outbox(),
  changed: () => showConversation(),
  moved: (run) => tell(run),
  opened: (id) => {
    history.replaceState(null, "", `#/c/${id}`);
    composer.key = `tom.draft.${id}`;
    shelf.turnTo(id);
  },
  listChanged: () => shelf.refresh(),
});

const composer = new Composer({
  form: byId("composer-form"),
  field: byId("composer"),
  sendButton: byId("send"),
  stopButton: byId("stop"),
  send: (text) => conversation.send(text),
  stop: () => {
    conversation.stop();
    announce("Stopping.");
  },
});

// --- showing ---

function showConnection(state, seconds) {
  byId("connection").dataset.state = state;
  say(byId("connection-text"), STATES[state](seconds));
  byId("reconnect").hidden = state !== "waiting";
}

function showConversation() {
  const { story, absent, id } = conversation;
  const empty = story.runs.size === 0 && (id === null || conversation.outbox.of(id).size === 0);
  byId("welcome").hidden = !(empty && id === null);
  byId("absent").hidden = !absent;
  byId("earlier").hidden = !conversation.hasEarlier;
  byId("scripted").hidden = !story.scripted || document.querySelector("#notice") !== null;
  composer.setRunning(story.active !== null);
  showTitle();
}

function showTitle() {
  const { id, story } = conversation;
  const first = [...story.runs.values()].find((run) => run.asked)?.asked.text.trim().split("\n")[0].slice(0, 80);
  const title = id === null ? NEW : shelf.title(id) || first || NEW;
  say(byId("title"), title);
  if (!document.title.startsWith("● ")) document.title = `${title} · Tom`;
}

function tell(run) {
  if (run.state === "running") announce("Tom is answering.");
  if (run.state === "failed") announce(`No answer: ${run.end.reason}`);
  if (run.state === "cancelled") announce("Stopped.");
  if (run.state === "completed") {
    const text = [...run.turns.values()].map((turn) => turn.reply.text).join(" ");
    announce(`Answer complete, ${text.split(/\s+/u).filter(Boolean).length} words.`);
  }
  if (isOver(run) && document.hidden && !document.title.startsWith("● ")) document.title = `● ${document.title}`;
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) document.title = document.title.replace(/^● /u, "");
});

// --- the shelf on a narrow screen ---

function showShelf(open) {
  document.body.classList.toggle("shelf-open", open);
  byId("shelf-open").setAttribute("aria-expanded", String(open));
  byId("veil").hidden = !open;
  if (open) byId("shelf-close").focus();
}

byId("shelf-open").addEventListener("click", () => showShelf(true));
for (const id of ["shelf-close", "veil"]) {
  byId(id).addEventListener("click", () => {
    showShelf(false);
    byId("shelf-open").focus();
  });
}
byId("shelf").addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !document.body.classList.contains("shelf-open")) return;
  event.preventDefault();
  showShelf(false);
  byId("shelf-open").focus();
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("composer").focus();
});
document.querySelector(".person form").addEventListener("submit", () => kept.clear());
window.addEventListener("pageshow", (event) => {
  // A page from the browser's own store may belong to a login that has ended.
  if (event.persisted) location.reload();
});
byId("reconnect").addEventListener("click", () => wire.retryNow());
byId("earlier").addEventListener("click", () => conversation.showEarlier());

// --- going somewhere ---

function go() {
  if (location.hash !== "" && !location.hash.startsWith("#/")) return;
  const found = /^#\/c\/([A-Za-z0-9._:%-]+)$/.exec(location.hash);
  const id = found ? decodeURIComponent(found[1]) : null;
  showShelf(false);
  shelf.turnTo(id);
  conversation.turnTo(id);
  composer.turnTo(id);
}

window.addEventListener("hashchange", go);
go();
wire.open();
