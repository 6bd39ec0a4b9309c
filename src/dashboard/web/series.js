// The last two minutes of a few figures, in rings: nothing is allocated from tick to tick.

/** How many ticks are kept. */
export const LENGTH = 120;

/** What is kept of the total, and of the service that is looked at. */
export const FIGURES = ["rate", "errors", "p50", "p90", "p99", "in_flight"];

/** Figures over time. One that was not measured is NaN. */
export class Series {
  #rings;
  #next = 0;
  #size = 0;

  constructor(names = FIGURES, length = LENGTH) {
    this.#rings = new Map(names.map((name) => [name, new Float32Array(length)]));
    this.length = length;
  }

  /** Adds what was measured at a tick. */
  push(figures) {
    for (const [name, ring] of this.#rings) ring[this.#next] = figures[name] ?? NaN;
    this.#next = (this.#next + 1) % this.length;
    this.#size = Math.min(this.#size + 1, this.length);
  }

  /** So many ticks were missed: nothing is known of them. */
  skip(ticks) {
    for (let at = 0; at < Math.min(ticks, this.length); at += 1) this.push({});
  }

  /** Forgets everything and takes these instead. */
  reset(history) {
    this.#next = this.#size = 0;
    for (const figures of history.slice(-this.length)) this.push(figures);
  }

  get size() {
    return this.#size;
  }

  /** The value of a figure `at` ticks after the oldest one. */
  at(name, at) {
    return this.#rings.get(name)[(this.#next - this.#size + at + this.length) % this.length];
  }

  /** The greatest value of a figure; 0 if there is none. */
  max(name) {
    let max = 0;
    for (let at = 0; at < this.#size; at += 1) {
      const value = this.at(name, at);
      if (value > max) max = value;
    }
    return max;
  }
}
