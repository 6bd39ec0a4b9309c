// What callboard does, as it is told over GET /api/v1/live: kept up to date while the page is seen.

import { Problem, tokens } from "./api.js";
import { Series } from "./series.js";
import { read } from "./stream.js";

/** The stream says something every few seconds; one that does not is dead. */
const SILENCE = 15_000;
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
/** Ticks of a service's rate that are kept, for its small line. */
const TREND = 60;

/** Events: `state` when the connection changes, `tick` when there are figures. */
class Live extends EventTarget {
  /** connecting, live, lost, paused or refused. */
  state = "connecting";
  /** Since when there are no figures (a time in ms), while they are missed. */
  since = null;
  /** When it is tried again (a time in ms). */
  retryAt = null;
  /** What callboard said against it. */
  problem = null;
  index = 0;
  total = null;
  totals = new Series();
  /** By name: the last figures, and `trend`, the rates before. */
  services = new Map();
  /** When callboard took the last figures (a time in ms of its clock). */
  #at = null;
  #abort = null;
  #timer = null;
  #watchdog = null;
  #wait = FIRST_WAIT;

  start() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#pause() : this.retry()));
    tokens.addEventListener("changed", () => this.retry());
    addEventListener("online", () => this.retry());
    if (document.hidden) this.#pause();
    else this.retry();
  }

  /** Connects now, whatever the back-off says. */
  retry() {
    this.#stop();
    if (document.hidden) return;
    this.#wait = FIRST_WAIT;
    this.#connect();
  }

  #stop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    this.#abort?.abort();
    this.#abort = null;
    this.retryAt = null;
  }

  #pause() {
    this.#stop();
    this.#become("paused");
  }

  async #connect() {
    const abort = (this.#abort = new AbortController());
    if (this.state === "lost") this.#become("lost");
    else this.#become("connecting");
    const heard = () => {
      clearTimeout(this.#watchdog);
      this.#watchdog = setTimeout(() => abort.abort(new Error("it fell silent")), SILENCE);
    };
    heard();
    let problem = null;
    try {
      await read("/live", {
        signal: abort.signal,
        seen: heard,
        event: (name, data) => abort === this.#abort && name === "figures" && this.#take(JSON.parse(data)),
      });
    } catch (error) {
      problem = error;
    }
    if (abort !== this.#abort) return; // somebody else took over
    clearTimeout(this.#watchdog);
    this.problem = problem;
    if (problem instanceof Problem && (problem.status === 401 || problem.status === 403)) {
      this.#become("refused");
      return; // a new token tries again
    }
    // A stream that ends in order is that of a process whose place another one takes: it is there already.
    const handedOver = problem === null && this.#wait === FIRST_WAIT;
    const wait = this.#wait * (0.75 + Math.random() / 2);
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT);
    this.retryAt = Date.now() + wait;
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#become(handedOver ? "connecting" : "lost");
  }

  #become(state) {
    this.state = state;
    if (state === "live") this.since = null;
    else this.since ??= Date.now();
    this.dispatchEvent(new Event("state"));
  }

  #take(event) {
    this.#wait = FIRST_WAIT;
    const at = Date.parse(event.at);
    const missed = this.#at === null ? 0 : Math.round((at - this.#at) / 1000) - 1;
    this.#at = at;
    this.total = event.total;
    this.index = event.index;
    if (event.history) this.totals.reset(event.history); // the present second is in it
    else this.totals.push(event.total);
    if (event.complete) {
      const there = new Set(event.services.map((service) => service.service));
      for (const name of this.services.keys()) if (!there.has(name)) this.services.delete(name);
    }
    for (const name of event.removed ?? []) this.services.delete(name);
    for (const figures of event.services) {
      const trend = this.services.get(figures.service)?.trend ?? new Series(["rate"], TREND);
      this.services.set(figures.service, { ...figures, trend });
    }
    for (const service of this.services.values()) {
      if (missed > 1) service.trend.skip(missed);
      service.trend.push(service);
    }
    if (this.state !== "live") this.#become("live");
    this.dispatchEvent(new Event("tick"));
  }
}

/** The one connection that all views share. */
export const live = new Live();

/** The last two minutes of one service. */
export async function historyOf(service, signal) {
  const abort = new AbortController();
  signal.addEventListener("abort", () => abort.abort());
  let history = [];
  const event = (_, data) => {
    history = JSON.parse(data).history ?? [];
    abort.abort();
  };
  await read(`/live?service=${encodeURIComponent(service)}`, { signal: abort.signal, event }).catch((error) => {
    if (!abort.signal.aborted) throw error;
  });
  return history;
}
