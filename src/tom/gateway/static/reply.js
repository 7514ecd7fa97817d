// The text of one turn while it is being said: fragments addressed by attempt and offset, in code points.

/** Count code points. */
export function points(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

function without(text, count) {
  let index = 0;
  for (let left = count; left > 0 && index < text.length; left -= 1) {
    index += text.codePointAt(index) > 0xffff ? 2 : 1;
  }
  return text.slice(index);
}

export class Reply {
  constructor() {
    this.attempt = 1;
    this.text = "";
    this.length = 0;
    this.ended = false;
    this.waiting = [];
  }

  /** Take one fragment. What is known already is dropped; what lies beyond a gap waits until the gap is filled. */
  add(attempt, offset, data) {
    if (this.ended || attempt < this.attempt) return { grew: false, gap: false };
    if (attempt > this.attempt) this.restart(attempt);
    const before = this.length;
    this.waiting.push({ offset, data });
    this.waiting.sort((left, right) => left.offset - right.offset);
    while (this.waiting.length > 0 && this.waiting[0].offset <= this.length) {
      const next = this.waiting.shift();
      const unseen = without(next.data, this.length - next.offset);
      this.text += unseen;
      this.length += points(unseen);
    }
    return { grew: this.length > before, gap: this.waiting.length > 0 };
  }

  /** Withdraw what was said: another attempt begins. */
  restart(attempt) {
    if (this.ended) return;
    this.attempt = attempt;
    this.text = "";
    this.length = 0;
    this.waiting = [];
  }

  /** The stored reply stands for all fragments. */
  end(text, attempt) {
    this.text = text;
    this.length = points(text);
    this.attempt = attempt;
    this.ended = true;
    this.waiting = [];
  }
}
