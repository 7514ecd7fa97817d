// Buttons that matter do nothing right after they appeared or moved: a click meant for something else must not allow.

const CALM = 600;
const LOOK = 100;
const NEAR = 2;

const watched = new Set();
let timer = 0;

function lookAround() {
  for (const guard of [...watched]) guard.look();
}

document.addEventListener("scroll", lookAround, { capture: true, passive: true });
document.addEventListener("visibilitychange", () => {
  for (const guard of watched) guard.moved();
});

export class Guard {
  /** Watch over the buttons in `place`, from when it is in the page until `stop`. */
  constructor(place) {
    this.place = place;
    this.at = null;
    this.since = Infinity;
    this.calm = null;
    watched.add(this);
    if (!timer) timer = setInterval(lookAround, LOOK);
    this.look();
  }

  /** Whether a press counts now. */
  get ready() {
    this.look();
    return this.calm === true;
  }

  stop() {
    watched.delete(this);
    if (watched.size > 0) return;
    clearInterval(timer);
    timer = 0;
  }

  moved() {
    this.since = performance.now();
    this.look();
  }

  look() {
    if (!this.place.isConnected) {
      if (this.at) this.stop();
      return;
    }
    const { left, top } = this.place.getBoundingClientRect();
    const same = this.at && Math.abs(this.at.left - left) < NEAR && Math.abs(this.at.top - top) < NEAR;
    if (!same) this.since = performance.now();
    this.at = { left, top };
    const calm = performance.now() - this.since >= CALM;
    if (calm !== this.calm) this.tell(calm);
  }

  tell(calm) {
    this.calm = calm;
    for (const button of this.place.querySelectorAll("button, a[target]")) {
      if (calm) button.removeAttribute("aria-disabled");
      else button.setAttribute("aria-disabled", "true");
    }
  }
}
