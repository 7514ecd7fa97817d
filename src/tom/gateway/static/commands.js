// What "/" at the start of a message offers: commands of this page, and the prompts of the person's services.

import { logIn } from "./dom.js";

const FRESH = 30000;

/** How well `name` fits what was typed: null when it does not, the smaller the better. Letters may be left out. */
export function fit(name, typed) {
  const text = name.toLowerCase();
  const wanted = typed.toLowerCase();
  const at = text.indexOf(wanted);
  if (at >= 0) return at;
  let from = 0;
  let spread = 100;
  for (const letter of wanted) {
    const found = text.indexOf(letter, from);
    if (found < 0) return null;
    spread += found - from;
    from = found + 1;
  }
  return spread;
}

/** A prompt's arguments, whichever way they are listed: [{name, description, required}]. */
function argumentsOf(listed) {
  if (Array.isArray(listed)) return listed.map((one) => ({ name: one.name, description: one.description ?? "", required: Boolean(one.required) }));
  return Object.entries(listed ?? {}).map(([name, one]) => ({ name, description: one?.description ?? "", required: Boolean(one?.required) }));
}

export class Commands {
  /** `own`: [{name, title, run()}]. */
  constructor(own) {
    this.own = own;
    this.prompts = [];
    this.trouble = "";
    this.loadedAt = -Infinity;
  }

  /** Ask for the prompts of the services, unless that was done just now. Answers whether anything may have changed. */
  async load() {
    if (performance.now() - this.loadedAt < FRESH) return false;
    this.loadedAt = performance.now();
    try {
      const answer = await fetch("/prompts", { headers: { Accept: "application/json" } });
      if (answer.status === 401) logIn();
      if (!answer.ok) throw new Error(String(answer.status));
      const { prompts } = await answer.json();
      this.prompts = prompts.map((prompt) => ({ ...prompt, arguments: argumentsOf(prompt.arguments) }));
      this.trouble = this.prompts.length === 0 ? "No service offers a prompt." : "";
    } catch {
      this.trouble = "The prompts of your services cannot be listed now.";
      this.loadedAt = -Infinity;
    }
    return true;
  }

  /** The offers that fit, best first: [{name, title, description, run?, prompt?}]. */
  matching(typed) {
    const offers = [
      ...this.own.map((command) => ({ ...command, description: "" })),
      ...this.prompts.map((prompt) => ({
        name: `${prompt.service}:${prompt.prompt ?? prompt.name}`, title: prompt.title || "", description: prompt.description || "", prompt,
      })),
    ];
    const fitting = offers.map((offer) => [fit(offer.name, typed), offer]).filter(([score]) => score !== null);
    return fitting.sort(([left], [right]) => left - right).map(([, offer]) => offer);
  }
}
