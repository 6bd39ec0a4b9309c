// Asking again and again, for what no stream tells. Nobody asks while the page is hidden.

/** Calls `ask` now and then every `pause` ms, until `signal` aborts. An answer that takes long makes the
 *  pause longer, so that large lists cost a small share of the time. Gives a function that asks at
 *  once. */
export function repeat(ask, pause, signal) {
  let timer = null;
  let running = false;
  let again = false;
  async function run() {
    clearTimeout(timer);
    if (signal.aborted) return;
    if (running) {
      again = true;
      return;
    }
    running = true;
    const began = performance.now();
    if (!document.hidden) await ask();
    running = false;
    const took = performance.now() - began;
    if (signal.aborted) return;
    timer = setTimeout(run, again ? 0 : Math.max(pause, 8 * took));
    again = false;
  }
  signal.addEventListener("abort", () => clearTimeout(timer));
  document.addEventListener("visibilitychange", run, { signal });
  run();
  return run;
}
