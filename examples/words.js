// What both example pages share: texts in English and Persian, direction, numbers, and what is kept in this browser.
"use strict";

const WORDS = {
  en: {
    chat_title: "Chat", metrics_title: "Traffic", language: "Language", direction: "Direction",
    by_language: "by language", ltr: "left to right", rtl: "right to left",
    connection: "Connection", base_url: "Address", token: "API token (only where one is asked for)",
    session: "Session", metadata: "Metadata (JSON)", memory_limit: "Memory limit of the session",
    message_options: "This message", message_limit: "Memory limit of this message", options: "Options (JSON)",
    start: "Start", stop: "Stop", delete: "Delete", send: "Send", write: "Write a message",
    no_session: "No session", session_is: "Session", you: "You", answer: "Answer", tokens: "tokens",
    not_json: "This is not JSON:", not_object: "This must be a JSON object", not_number: "This must be a whole number of at least 1",
    request: "request", failed: "That did not work", gone: "The session is not there any more",
    unreachable: "The server cannot be reached", waiting: "This waits for your approval in another client",
    interval: "Seconds between readings", requests: "Requests", responses: "Responses", errors: "Errors",
    last_seen: "Last values from", per_reading: "since the reading before", uptime: "Up for", latency: "Median answer",
    sockets: "Open sockets", running: "Runs active", all_tokens: "Tokens", refused: "The server does not show its metrics here",
    second: "s", stopped: "stopped",
  },
  fa: {
    chat_title: "گفت‌وگو", metrics_title: "ترافیک", language: "زبان", direction: "جهت",
    by_language: "بر پایهٔ زبان", ltr: "چپ به راست", rtl: "راست به چپ",
    connection: "اتصال", base_url: "نشانی", token: "توکن API (تنها اگر خواسته شود)",
    session: "نشست", metadata: "فراداده (JSON)", memory_limit: "سقف حافظهٔ نشست",
    message_options: "این پیام", message_limit: "سقف حافظهٔ این پیام", options: "گزینه‌ها (JSON)",
    start: "شروع", stop: "توقف", delete: "حذف", send: "فرستادن", write: "پیامی بنویسید",
    no_session: "نشستی نیست", session_is: "نشست", you: "شما", answer: "پاسخ", tokens: "توکن",
    not_json: "این JSON نیست:", not_object: "این باید یک شیء JSON باشد", not_number: "این باید عددی درست و دست‌کم ۱ باشد",
    request: "درخواست", failed: "انجام نشد", gone: "این نشست دیگر وجود ندارد",
    unreachable: "کارساز در دسترس نیست", waiting: "این کار در انتظار تأیید شما در برنامه‌ای دیگر است",
    interval: "ثانیه میان دو خواندن", requests: "درخواست‌ها", responses: "پاسخ‌ها", errors: "خطاها",
    last_seen: "واپسین مقدارها از", per_reading: "از خواندن پیشین", uptime: "روشن از", latency: "میانهٔ پاسخ",
    sockets: "سوکت‌های باز", running: "اجراهای فعال", all_tokens: "توکن‌ها", refused: "کارساز آمار خود را اینجا نشان نمی‌دهد",
    second: "ث", stopped: "متوقف",
  },
};

const kept = {
  read(name, otherwise) {
    try { return localStorage.getItem(`tom.${name}`) ?? otherwise; } catch { return otherwise; }
  },
  write(name, value) {
    try {
      if (value === null) localStorage.removeItem(`tom.${name}`);
      else localStorage.setItem(`tom.${name}`, value);
    } catch { /* a browser that keeps nothing still shows the page */ }
  },
};

const page = {
  language: kept.read("language", navigator.language.startsWith("fa") ? "fa" : "en"),
  direction: kept.read("direction", "auto"),
};

const say = (key) => WORDS[page.language][key];
const $ = (id) => document.getElementById(id);

/** A number in the digits of the page's language. */
function number(value, digits = 0) {
  return new Intl.NumberFormat(page.language, { maximumFractionDigits: digits }).format(value);
}

/** A time of day in the page's language. */
function clock(moment) {
  return new Intl.DateTimeFormat(page.language, { timeStyle: "medium" }).format(moment);
}

/** The address that requests go to: what the field says, else where the page comes from, else the usual place. */
function usualAddress() {
  return location.protocol.startsWith("http") ? location.origin : "http://localhost:8000";
}

/** Put language and direction in force, everywhere that a text is named. */
function dress(titled) {
  const rtl = page.direction === "auto" ? page.language === "fa" : page.direction === "rtl";
  document.documentElement.lang = page.language;
  document.documentElement.dir = rtl ? "rtl" : "ltr";
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = say(element.dataset.word);
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = say(element.dataset.hint);
  document.title = say(titled);
}

/** The two choices of the page's head; `after` is called whenever one was changed. */
function choices(titled, after) {
  for (const [id, name] of [["language", "language"], ["direction", "direction"]]) {
    $(id).value = page[name];
    $(id).addEventListener("change", () => {
      page[name] = $(id).value;
      kept.write(name, page[name]);
      dress(titled);
      after();
    });
  }
  dress(titled);
}
