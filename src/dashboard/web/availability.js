// What an instance is, in words, shapes and colours: never in colour alone.

import { h, setAttribute, setText } from "./dom.js";
import { counted } from "./format.js";

/** Every availability, the best first, with the sign that stands for it. */
export const STATES = [
  ["ready", "●"],
  ["suspect", "◐"],
  ["starting", "◔"],
  ["draining", "▽"],
  ["unhealthy", "✕"],
  ["ejected", "⊘"],
  ["down", "■"],
];

const SIGNS = new Map(STATES);
const RANKS = new Map(STATES.map(([state], rank) => [state, rank]));

/** How bad an availability is; one that is not known counts as the worst. */
export const rankOf = (state) => RANKS.get(state) ?? STATES.length;

/** One availability. */
export function badge(state) {
  const element = h("span", { class: "badge" }, h("span", { class: "sign", "aria-hidden": "true" }), h("span"));
  setBadge(element, state);
  return element;
}

/** Shows another availability. */
export function setBadge(element, state) {
  setAttribute(element, "data-state", state);
  setText(element.firstChild, SIGNS.get(state) ?? "?");
  setText(element.lastChild, state);
}

/** Says of counts by availability what they are, for example "8 ready, 1 ejected". */
export function describe(counts) {
  const parts = known(counts).map(([state, number]) => `${number} ${state}`);
  return parts.length ? parts.join(", ") : "no instances";
}

/** The number of instances that take traffic, and of all. */
export function tally(counts) {
  let all = 0;
  for (const number of Object.values(counts)) all += number;
  return { all, serving: (counts.ready ?? 0) + (counts.suspect ?? 0) };
}

/** How much is wrong: 0 is nothing, 1 is everything. */
export function trouble(counts) {
  const { all, serving } = tally(counts);
  return all === 0 ? 1 : 1 - serving / all + (counts.suspect ?? 0) / all / 10;
}

/** A bar of counts by availability with its words beside it. */
export function bar() {
  const segments = STATES.map(([state]) => h("i", { "data-state": state }));
  const words = h("span", { class: "words" });
  const element = h("span", { class: "availability" }, h("span", { class: "bar", "aria-hidden": "true" }, segments), words);
  let shown;
  return {
    element,
    set(counts, panic = false) {
      const key = `${JSON.stringify(counts)}${panic}`;
      if (key === shown) return;
      shown = key;
      const { all } = tally(counts);
      for (const [at, [state]] of STATES.entries()) {
        const number = counts[state] ?? 0;
        segments[at].style.flexGrow = String(number);
        segments[at].hidden = number === 0;
      }
      const bad = known(counts).filter(([state]) => state !== "ready");
      const ready = counts.ready ?? 0;
      const rest = bad.map(([state, number]) => `${SIGNS.get(state) ?? "?"} ${number} ${state}`);
      setText(words, all === 0 ? "no instances" : [`${ready} ready`, ...rest].join(" · ") + (panic ? " · panic" : ""));
      setAttribute(element, "title", `${counted(all, "instance")}: ${describe(counts)}${panic ? "; too few are available, so all of them take traffic" : ""}`);
    },
  };
}

function known(counts) {
  return Object.entries(counts ?? {})
    .filter(([, number]) => number > 0)
    .sort(([a], [b]) => rankOf(a) - rankOf(b));
}
