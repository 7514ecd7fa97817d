// JSON whose numbers stay as they were written: what somebody says yes to must not be rounded on its way to the eye.

const ASKED = /"(approval\.requested|approval\.answered|tool\.called|approval_id)"/;

/** A number that JavaScript would round or write otherwise. */
export class Exact {
  constructor(source) {
    this.source = source;
  }

  toJSON() {
    return JSON.rawJSON ? JSON.rawJSON(this.source) : Number(this.source);
  }
}

/** Parse JSON; numbers that would change become `Exact`. */
export function parseExactly(text) {
  return JSON.parse(text, (_key, value, context) => {
    if (typeof value !== "number" || context?.source === undefined) return value;
    return String(value) === context.source ? value : new Exact(context.source);
  });
}

/** Parse what the server sent; exactly where arguments are in it. */
export function parseSent(text) {
  return ASKED.test(text) ? parseExactly(text) : JSON.parse(text);
}
