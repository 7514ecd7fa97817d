// The page: puts its parts together.

import { Attachments } from "./attachments.js";
import { Commands } from "./commands.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { byId, kept, revealed, say } from "./dom.js";
import { furnish, showHelp, showShelf } from "./drawer.js";
import { Heading } from "./heading.js";
import { Inbox } from "./inbox.js";
import { InboxView } from "./inboxview.js";
import { Menu } from "./menu.js";
import { Outbox } from "./outbox.js";
import { PromptForm } from "./promptform.js";
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
const heading = new Heading();

const inbox = new Inbox({
  changed: () => {
    heading.setCount(inbox.pending.length);
    inboxView.draw();
  },
  arrived: (ask) => {
    const what = ask.kind === "approval" ? `Approval needed: ${ask.service}, ${ask.tool}` : `The service ${ask.service} asks you something`;
    announce(`${revealed(what)}.`);
    heading.setUnread(true);
  },
});

const transcript = new Transcript({
  root: byId("transcript"),
  scroller: byId("scroller"),
  latest: byId("latest"),
  press: new Press(),
  retry: (runId) => conversation.retry(runId),
  again: (requestId) => conversation.again(requestId),
  discard: (requestId) => conversation.discard(requestId),
  settled: () => {
    inbox.refresh();
    showConversation();
  },
});

const wire = new Wire({
  onFrame: (frame) => {
    if (frame.status === "event") heardAnywhere(frame);
    conversation.hear(frame);
  },
  onOpen: () => {
    wire.send("subscribe", { conversation_id: "*" }, "subscribe");
    conversation.reconnected();
    shelf.refresh();
    inbox.refresh(0);
  },
  onState: showConnection,
});

const shelf = new Shelf({
  root: byId("conversations"),
  onList: () => {
    showTitle();
    inboxView.draw();
  },
});

const inboxView = new InboxView({
  root: byId("inbox"),
  inbox,
  titleOf: (id) => shelf.title(id) || NEW,
  settled: () => {
    heading.setCount(inbox.pending.length);
    inbox.refresh();
  },
});

const conversation = new Conversation({
  transcript,
  wire,
  outbox: new Outbox(),
  changed: () => showConversation(),
  moved: (run) => tell(run),
  opened: (id) => {
    history.replaceState(null, "", `#/c/${id}`);
    composer.key = `tom.draft.${id}`;
    attachments.turnTo(id);
    shelf.turnTo(id);
  },
  listChanged: () => shelf.refresh(),
});

const stop = () => {
  conversation.stop();
  announce("Stopping.");
};

const composer = new Composer({
  form: byId("composer-form"),
  field: byId("composer"),
  sendButton: byId("send"),
  stopButton: byId("stop"),
  send: (text, files) => conversation.send(text, { attachments: files }),
  stop,
});

const attachments = new Attachments({
  root: byId("attachments"),
  trouble: byId("attachment-trouble"),
  field: byId("composer"),
  dropZone: byId("room"),
  pick: byId("attach"),
  chooser: byId("attach-files"),
  putBack: (text) => composer.insert(text),
  changed: () => composer.fit(),
  announce,
});

const promptForm = new PromptForm({
  root: byId("prompt-form"),
  use: (prompt, given) => {
    const name = `${prompt.service}:${prompt.prompt ?? prompt.name}`;
    const typed = Object.entries(given).map(([key, value]) => `${key}="${value.replace(/["\\]/gu, "\\$&")}"`);
    conversation.send([`/${name}`, ...typed].join(" "), { prompt: { name, arguments: given } });
    byId("composer").focus();
  },
  left: () => byId("composer").focus(),
});

const commands = new Commands([
  { name: "new", title: "New conversation", run: () => (location.hash = "#/new") },
  { name: "stop", title: "Stop the answer", run: stop },
  { name: "inbox", title: "What waits for you", run: () => (location.hash = "#/inbox") },
  { name: "help", title: "Keys and commands", run: showHelp },
]);

const menu = new Menu({
  root: byId("menu"),
  field: byId("composer"),
  commands,
  announce,
  chosen: (offer) => {
    composer.clear();
    if (offer.run) offer.run();
    else promptForm.ask(offer.prompt);
  },
});
composer.equip(menu, attachments);

// --- hearing ---

/** An event of any conversation of this person. */
function heardAnywhere({ conversation_id: id, event }) {
  inbox.heardEvent(event);
  if (event.type === "conversation.changed" && event.extra?.title !== undefined) {
    shelf.rename(id, event.extra.title);
    showTitle();
  }
  if (/^(message|run|conversation)\./u.test(event.type)) shelf.refresh();
}

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
  composer.setRunning(story.active?.state ?? null);
  byId("waiting").hidden = story.openAsks.length === 0;
  showTitle();
}

function showTitle() {
  const { id, story } = conversation;
  const first = [...story.runs.values()].find((run) => run.asked)?.asked.text.trim().split("\n")[0].slice(0, 80);
  const title = id === null ? NEW : story.title || shelf.title(id) || first || NEW;
  heading.setTitle(inboxView.shown ? "Inbox" : title);
}

function tell(run) {
  if (run.state === "running") announce("Tom is answering.");
  if (run.state === "failed") announce(`No answer: ${run.end.reason}`);
  if (run.state === "cancelled") announce("Stopped.");
  if (run.state === "completed") {
    const text = [...run.turns.values()].map((turn) => turn.reply.text).join(" ");
    announce(`Answer complete, ${text.split(/\s+/u).filter(Boolean).length} words.`);
  }
  if (isOver(run)) heading.setUnread(true);
}

furnish();
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
byId("show-ask").addEventListener("click", () => transcript.showAsk());

// --- going somewhere ---

let place = null;

function go() {
  if (location.hash !== "" && !location.hash.startsWith("#/")) return;
  showShelf(false);
  const asked = /^#\/inbox(?:\/([^/]+))?$/u.exec(location.hash);
  byId("room").classList.toggle("at-inbox", asked !== null);
  if (asked) {
    shelf.turnTo(null);
    inbox.refresh(0);
    inboxView.open(asked[1] ? decodeURIComponent(asked[1]) : null);
    showTitle();
    return;
  }
  inboxView.close();
  const found = /^#\/c\/([A-Za-z0-9._:%-]+)$/u.exec(location.hash);
  const id = found ? decodeURIComponent(found[1]) : null;
  promptForm.shut();
  shelf.turnTo(id);
  if (place === null || id === null || conversation.id !== id) conversation.turnTo(id);
  else transcript.follow();
  place = location.hash;
  attachments.turnTo(id);
  composer.turnTo(id);
  showTitle();
}

window.addEventListener("hashchange", go);
go();
wire.open();
