// One service: its figures, and its instances with what can be done to them.

import { explained, json } from "./api.js";
import { bar, rankOf } from "./availability.js";
import { h, setText } from "./dom.js";
import { count, counted } from "./format.js";
import { instanceRows } from "./instances.js";
import { historyOf, live } from "./live.js";
import { repeat } from "./polling.js";
import { link, note } from "./router.js";
import { Series } from "./series.js";
import { charts } from "./view-services.js";

/** Instances shown at first, and added by each click. */
const PAGE = 200;

export const title = ({ part }) => part;

export function render({ main, heading, part: service, params, signal }) {
  const state = { q: params.get("q") ?? "", sort: params.get("sort"), down: params.get("down") === "1", shown: PAGE };
  if (!Object.hasOwn(ORDERS, state.sort)) state.sort = "availability";
  const series = new Series();
  const figures = charts();
  const health = bar();
  const facts = h("p", { class: "summary" });
  const search = h("input", { type: "search", placeholder: "Filter instances  ( / )", "aria-label": "Filter instances", value: state.q, spellcheck: "false", autocomplete: "off" });
  const found = h("span", { class: "found", role: "status" });
  const problem = h("p", { class: "error", role: "alert" });
  const empty = h("p", { class: "empty", hidden: true }, "The service has no instances.");
  const more = h("button", { type: "button", hidden: true, onclick: () => { state.shown += PAGE; draw(); } });
  const list = instanceRows({ refresh: () => refresh(), sort, alone: (id) => !instances.some((other) => other.id !== id && serves(other)) });
  heading.before(h("p", { class: "crumbs" }, h("a", { href: link("services") }, "Services"), h("span", { "aria-hidden": "true" }, "›"), h("span", {}, service)));
  main.append(
    h("div", { class: "fleet" }, health.element, facts),
    figures.element,
    h("div", { class: "filters" }, search, found, h("a", { href: link("journal", null, { service }) }, "Journal"), h("a", { href: link("explain", null, { service }) }, "Explain")),
    problem, list.element, empty, more,
  );
  let instances = [];

  function sort(key) {
    state.down = state.sort === key ? !state.down : false;
    state.sort = key;
    changed();
  }
  function changed() {
    note({ q: state.q, sort: state.sort === "availability" ? "" : state.sort, down: state.down ? "1" : "" });
    draw();
  }
  search.addEventListener("input", () => {
    state.q = search.value.trim();
    changed();
  });

  async function ask() {
    try {
      instances = await json("GET", `/services/${encodeURIComponent(service)}/instances`, { signal });
      setText(problem, "");
      draw();
    } catch (error) {
      if (!signal.aborted) setText(problem, explained(error));
    }
  }

  function draw() {
    const wanted = state.q.toLowerCase();
    const chosen = instances.filter((instance) => !wanted || textOf(instance).includes(wanted));
    const sign = state.down ? -1 : 1;
    const by = ORDERS[state.sort];
    chosen.sort((a, b) => sign * compare(by(a), by(b)) || compare(a.id, b.id));
    list.sorted(state.sort, state.down);
    list.show(chosen.slice(0, state.shown));
    more.hidden = chosen.length <= state.shown;
    setText(more, `Show ${count(Math.min(PAGE, chosen.length - state.shown))} more`);
    setText(found, wanted ? `${count(chosen.length)} of ${counted(instances.length, "instance")}` : "");
    empty.hidden = instances.length > 0;
    const counts = {};
    for (const { availability } of instances) counts[availability] = (counts[availability] ?? 0) + 1;
    health.set(counts, live.services.get(service)?.panic);
    setText(facts, counted(instances.length, "instance"));
  }

  const refresh = repeat(ask, 1_000, signal);
  let index = live.index;
  function tick() {
    const now = live.services.get(service);
    if (now) {
      series.push(now);
      figures.set(now, series);
    }
    if (live.index !== index) refresh();
    index = live.index;
  }
  live.addEventListener("tick", tick, { signal });
  live.addEventListener("state", () => live.state === "live" && past(), { signal });
  past();

  /** What was before it was looked at, or while callboard was away. */
  async function past() {
    try {
      series.reset(await historyOf(service, signal));
      const now = live.services.get(service);
      if (now) figures.set(now, series);
    } catch {
      // The banner says that callboard cannot be reached.
    }
  }
}

const ORDERS = {
  id: (instance) => instance.id,
  availability: (instance) => -rankOf(instance.availability),
  weight: (instance) => instance.weight,
  zone: (instance) => instance.zone ?? "",
  in_flight: (instance) => -instance.in_flight,
  served: (instance) => -instance.served,
};

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const serves = (instance) => instance.availability === "ready" || instance.availability === "suspect";
const textOf = ({ id, address, port, zone, tags, availability, reason }) => [id, `${address}:${port}`, zone, ...tags, availability, reason].join(" ").toLowerCase();
