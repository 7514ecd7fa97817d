// Reads GET /metrics every so many seconds and draws what happened between two readings.
"use strict";

const READINGS = 90;
const FIGURES = { requests: "requests_total", responses: "responses_total", errors: "errors_total" };

let readings = []; // {at, requests, responses, errors}, oldest first
let last = null; // the last whole answer
let timer = 0;

async function read() {
  try {
    const answer = await fetch($("base").value.replace(/\/+$/, "") + "/metrics", {
      headers: { Accept: "application/json" }, cache: "no-store",
    });
    if (!answer.ok) throw new Error(answer.status === 401 || answer.status === 404 ? say("refused") : `HTTP ${answer.status}`);
    take(await answer.json());
  } catch (error) {
    grey(error);
  }
}

function take(answer) {
  const reading = { at: Date.now() };
  for (const [name, field] of Object.entries(FIGURES)) reading[name] = answer[field];
  const before = readings.at(-1);
  // Counters that went back belong to a server that was started anew: what was drawn before says nothing about it.
  if (before && Object.keys(FIGURES).some((name) => reading[name] < before[name])) readings = [];
  readings = [...readings, reading].slice(-READINGS);
  last = answer;
  $("board").classList.remove("stale");
  $("problem").textContent = "";
  draw();
}

function grey(error) {
  const since = readings.length ? ` ${say("last_seen")} ${clock(readings.at(-1).at)}.` : "";
  const text = error instanceof TypeError ? say("unreachable") : error.message;
  $("board").classList.add("stale");
  $("problem").textContent = `${text}.${since}`;
}

function draw() {
  if (!last) return;
  for (const name of Object.keys(FIGURES)) {
    const steps = readings.slice(1).map((reading, index) => reading[name] - readings[index][name]);
    $(name).textContent = number(readings.at(-1)[name]);
    $(`${name}-change`).textContent = steps.length ? `+${number(steps.at(-1))} ${say("per_reading")}` : "";
    chart($(`${name}-chart`), steps);
  }
  $("uptime").textContent = duration(last.uptime_seconds);
  $("latency").textContent = `${number(last.request_latency_ms?.p50 ?? last.request_latency_avg_ms ?? 0, 1)} ms`;
  $("running").textContent = number(last.runs?.active ?? 0);
  $("sockets").textContent = number(last.websocket_connections ?? 0);
  $("tokens").textContent = number(typeof last.tokens_total === "number" ? last.tokens_total : 0);
}

function chart(svg, steps) {
  svg.replaceChildren();
  if (!steps.length) return;
  const most = Math.max(1, ...steps);
  const width = 100 / Math.max(1, steps.length - 1);
  const points = (steps.length === 1 ? [steps[0], steps[0]] : steps).map((value, index) => {
    return [steps.length === 1 ? index * 100 : index * width, 38 - (value / most) * 34];
  });
  const trace = points.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" ");
  svg.append(shape("polygon", "area", `0,40 ${trace} 100,40`), shape("polyline", "trace", trace));
}

function shape(kind, style, points) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  element.setAttribute("class", style);
  element.setAttribute("points", points);
  return element;
}

function duration(seconds) {
  const parts = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const [size, unit] = parts.find(([least]) => seconds >= least) ?? parts.at(-1);
  return new Intl.NumberFormat(page.language, { style: "unit", unit, unitDisplay: "long" }).format(Math.floor(seconds / size));
}

/** Seconds between readings: 1 to 3600, else what was in force before. */
function pace() {
  const wanted = Number($("interval").value);
  const before = Number(kept.read("interval", "20"));
  const seconds = Number.isInteger(wanted) && wanted >= 1 && wanted <= 3600 ? wanted : before;
  $("interval").value = String(seconds);
  kept.write("interval", String(seconds));
  clearInterval(timer);
  timer = setInterval(read, seconds * 1000);
}

$("base").value = kept.read("base", usualAddress());
$("base").addEventListener("change", () => {
  kept.write("base", $("base").value);
  readings = [];
  read();
});
$("interval").value = kept.read("interval", "20");
$("interval").addEventListener("change", pace);
choices("metrics_title", draw);
pace();
read();
