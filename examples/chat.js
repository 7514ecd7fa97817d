// A whole chat client on the REST door: open a session, send messages, read the answer as it is written, stop, delete.
"use strict";

let session = kept.read("session", "");
let going = null; // the answer being written: {bubble, text, run}

class Refused extends Error {
  constructor(status, body, request) {
    const error = typeof body.error === "object" ? body.error : { code: body.error, message: body.error ?? body.message };
    super(error?.message ?? say("failed"));
    this.status = status;
    this.code = error?.code ?? "";
    this.request = body.request_id ?? request ?? "";
  }
}

// --- asking the server ------------------------------------------------------------------------------------------

async function ask(method, path, body, accept = "application/json") {
  const headers = { Accept: accept };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if ($("token").value) headers.Authorization = `Bearer ${$("token").value}`;
  const answer = await fetch($("base").value.replace(/\/+$/, "") + path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})), answer.headers.get("X-Request-ID"));
  return answer;
}

/** The frames of a stream of events, as {event, data}. */
async function* framesOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const blocks = held.split("\n\n");
    held = blocks.pop();
    for (const block of blocks) {
      const frame = { event: "message", data: "" };
      for (const line of block.split("\n")) {
        if (line.startsWith("event:")) frame.event = line.slice(6).trim();
        if (line.startsWith("data:")) frame.data += line.slice(5).trim();
      }
      if (frame.data) yield { event: frame.event, data: JSON.parse(frame.data) };
    }
  }
}

// --- reading the fields -----------------------------------------------------------------------------------------

function mark(id, problem) {
  $(id).setAttribute("aria-invalid", problem ? "true" : "false");
  $(`${id}-wrong`).textContent = problem;
}

/** The JSON object of a field; undefined where it is marked as wrong. */
function jsonOf(id) {
  mark(id, "");
  const text = $(id).value.trim();
  if (!text) return {};
  try {
    const value = JSON.parse(text);
    if (value === null || typeof value !== "object" || Array.isArray(value)) mark(id, say("not_object"));
    else return value;
  } catch (error) {
    mark(id, `${say("not_json")} ${error.message}`);
  }
  reveal(id);
  return undefined;
}

/** The whole number of a field, null where it is empty; undefined where it is marked as wrong. */
function numberOf(id) {
  mark(id, "");
  const text = $(id).value.trim();
  if (!text) return null;
  if (/^[0-9]+$/.test(text) && Number(text) >= 1) return Number(text);
  mark(id, say("not_number"));
  reveal(id);
  return undefined;
}

function reveal(id) {
  $(id).closest("details")?.setAttribute("open", "");
  $(id).focus();
}

// --- showing ----------------------------------------------------------------------------------------------------

/** Text as paragraphs; each finds its own direction. Nothing of it is ever read as markup. */
function fill(bubble, text) {
  bubble.querySelectorAll("p").forEach((paragraph) => paragraph.remove());
  const before = bubble.querySelector("small");
  for (const part of text.split(/\n{2,}/)) {
    const paragraph = document.createElement("p");
    paragraph.dir = "auto";
    paragraph.textContent = part;
    bubble.insertBefore(paragraph, before);
  }
}

function show(role, text) {
  const bubble = document.createElement("div");
  bubble.className = `said ${role}`;
  bubble.append(Object.assign(document.createElement("small"), { dir: "auto" }));
  fill(bubble, text);
  $("talk").append(bubble);
  $("talk").scrollTop = $("talk").scrollHeight;
  return bubble;
}

function note(bubble, text) {
  bubble.querySelector("small").textContent = text;
}

function complain(error) {
  const request = error instanceof Refused && error.request ? ` (${say("request")} ${error.request})` : "";
  const text = error instanceof Refused ? error.message : `${say("unreachable")}: ${error.message}`;
  $("problem").textContent = text + request;
  if (error instanceof Refused && error.code === "session_not_found") use("");
}

function use(id) {
  session = id;
  kept.write("session", id || null);
  refresh();
}

function refresh() {
  $("session").textContent = session;
  $("session-word").textContent = say(session ? "session_is" : "no_session");
  $("start").disabled = Boolean(going);
  $("delete").disabled = !session || Boolean(going);
  $("text").disabled = $("send").disabled = !session || Boolean(going);
  $("stop").disabled = !going;
}

// --- what can be done -------------------------------------------------------------------------------------------

async function start() {
  const metadata = jsonOf("metadata");
  const limit = numberOf("limit");
  if (metadata === undefined || limit === undefined) return;
  const answer = await ask("POST", "/sessions", { metadata, ...(limit === null ? {} : { memory_limit: limit }) });
  use((await answer.json()).id);
  $("talk").replaceChildren();
  $("text").focus();
}

async function send() {
  const options = jsonOf("options");
  const limit = numberOf("message-limit");
  const text = $("text").value;
  if (options === undefined || limit === undefined || !text.trim()) return;
  const body = { content: text, options, request_id: crypto.randomUUID?.() ?? `q-${Date.now()}-${Math.random()}` };
  if (limit !== null) body.memory_limit = limit;
  show("user", text);
  $("text").value = "";
  going = { bubble: show("assistant", ""), text: "" };
  going.bubble.classList.add("going");
  refresh();
  try {
    const answer = await ask("POST", `/sessions/${encodeURIComponent(session)}/messages`, body, "text/event-stream");
    for await (const frame of framesOf(answer)) hear(frame);
  } catch (error) {
    if (error instanceof Refused) $("text").value = text; // it was not taken: nothing of it is lost
    throw error;
  } finally {
    going.bubble.classList.remove("going");
    if (!going.text) going.bubble.remove();
    going = null;
    refresh();
  }
}

function hear({ event, data }) {
  const kind = data.chunk?.type;
  if (event === "chunk" && kind === "text") {
    going.text = data.offset === 0 ? data.chunk.data : going.text + data.chunk.data;
    fill(going.bubble, going.text);
  } else if (event === "processing" && kind === "attempt") {
    going.text = "";
    fill(going.bubble, "");
  } else if (event === "processing" && kind === "waiting") {
    note(going.bubble, say("waiting"));
    going.text ||= " ";
  } else if (event === "complete") {
    const stopped = data.metadata.finish_reason === "cancelled" ? ` · ${say("stopped")}` : "";
    note(going.bubble, `${number(data.metadata.tokens)} ${say("tokens")}${stopped}`);
  } else if (event === "error") {
    complain(new Refused(0, data, data.request_id));
  }
  $("talk").scrollTop = $("talk").scrollHeight;
}

async function stop() {
  await ask("POST", `/sessions/${encodeURIComponent(session)}/stop`, {});
}

async function remove() {
  await ask("DELETE", `/sessions/${encodeURIComponent(session)}`);
  use("");
  $("talk").replaceChildren();
}

/** After a reload: what was said in the session that this browser remembers. */
async function recall() {
  if (!session) return;
  const answer = await ask("GET", `/sessions/${encodeURIComponent(session)}`);
  $("talk").replaceChildren();
  for (const said of (await answer.json()).history) show(said.role, said.content);
}

function when(id, kind, work) {
  $(id).addEventListener(kind, (event) => {
    event.preventDefault();
    $("problem").textContent = "";
    work().catch(complain);
  });
}

$("base").value = kept.read("base", usualAddress());
$("base").addEventListener("change", () => kept.write("base", $("base").value));
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("say").requestSubmit();
  }
});
when("start", "click", start);
when("delete", "click", remove);
when("stop", "click", stop);
when("say", "submit", send);
choices("chat_title", refresh);
refresh();
recall().catch(complain);
