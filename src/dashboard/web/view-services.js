// All services: the totals, and a line for each.

import { bar, trouble } from "./availability.js";
import { chart, sparkline } from "./chart.js";
import { h, setAttribute, setText } from "./dom.js";
import { count, counted, rate, seconds, share } from "./format.js";
import { live } from "./live.js";
import { link, note } from "./router.js";
import { table } from "./table.js";
import { VirtualRows } from "./virtual.js";

export const title = () => "Services";

const COLUMNS = [
  { key: "service", title: "Service", sort: true },
  { key: "availability", title: "Availability", sort: true, hint: "By how much is wrong" },
  { key: "rate", title: "Requests/s", sort: true, numeric: true },
  { key: "errors", title: "Errors", sort: true, numeric: true, hint: "Answers with 5xx, of all" },
  { key: "p50", title: "p50", sort: true, numeric: true },
  { key: "p99", title: "p99", sort: true, numeric: true },
  { key: "in_flight", title: "In flight", sort: true, numeric: true },
  { key: "trend", title: "Last minute" },
];

/** What a service is ordered by. Figures and troubles come greatest first. */
const ORDERS = {
  availability: (service) => trouble(service.availability),
  rate: (service) => service.rate,
  errors: (service) => (service.rate ? service.errors / service.rate : 0),
  p50: (service) => service.p50 ?? -1,
  p99: (service) => service.p99 ?? -1,
  in_flight: (service) => service.in_flight,
};

/** The charts of the totals, or of one service. */
export function charts() {
  const requests = chart("Requests", [{ name: "rate", label: "requests per second", format: rate }]);
  const errors = chart("Errors", [{ name: "errors", label: "errors per second", format: rate }]);
  errors.element.classList.add("bad");
  const latency = chart("Latency", [
    { name: "p99", label: "p99", format: seconds },
    { name: "p90", label: "p90", format: seconds },
    { name: "p50", label: "p50", format: seconds },
  ]);
  const load = chart("In flight", [{ name: "in_flight", label: "requests in flight", format: count }]);
  return {
    element: h("div", { class: "charts" }, requests.element, errors.element, latency.element, load.element),
    set(figures, series) {
      requests.set(rate(figures.rate), "per second", series);
      errors.set(share(figures.errors, figures.rate), `${rate(figures.errors)} per second`, series);
      latency.set(seconds(figures.p99), `p99 · p50 ${seconds(figures.p50)}`, series);
      load.set(count(figures.in_flight), figures.connections === undefined ? "requests" : counted(figures.connections, "connection"), series);
    },
  };
}

export function render({ main, params, signal }) {
  const state = { q: params.get("q") ?? "", only: params.get("only") ?? "", sort: params.get("sort") ?? "service", down: params.get("down") === "1" };
  if (!Object.hasOwn(ORDERS, state.sort)) state.sort = "service";
  let names = [];

  const totals = charts();
  const fleet = bar();
  const summary = h("p", { class: "summary" });
  const search = h("input", { type: "search", placeholder: "Search services  ( / )", "aria-label": "Search services", value: state.q, spellcheck: "false", autocomplete: "off" });
  const only = h("select", { "aria-label": "Which services" }, [["", "All"], ["trouble", "With trouble"], ["traffic", "With traffic"]].map(([value, words]) => h("option", { value, selected: value === state.only }, words)));
  const found = h("span", { class: "found", role: "status" });
  const list = table("Services", COLUMNS, { kind: "services", onsort: sort });
  const empty = h("p", { class: "empty", hidden: true });
  main.append(totals.element, h("div", { class: "fleet" }, fleet.element, summary), h("div", { class: "filters" }, search, only, found), list.element, empty);

  const rows = new VirtualRows(list, { make, update, keyOf: (name) => name });
  signal.addEventListener("abort", () => rows.close());

  function sort(key) {
    state.down = state.sort === key ? !state.down : key !== "service";
    state.sort = key;
    changed();
  }
  function changed() {
    note({ q: state.q, only: state.only, sort: state.sort === "service" ? "" : state.sort, down: state.down ? "1" : "" });
    arrange(true);
  }
  search.addEventListener("input", () => {
    state.q = search.value.trim();
    changed();
  });
  only.addEventListener("change", () => {
    state.only = only.value;
    changed();
  });

  /** Chooses and orders the names. Rows keep their places while somebody points at them. */
  function arrange(asked = false) {
    const busy = list.body.matches(":hover, :focus-within");
    const wanted = state.q.toLowerCase();
    const chosen = [];
    for (const [name, service] of live.services) {
      if (wanted && !name.includes(wanted)) continue;
      if (state.only === "trouble" && !trouble(service.availability) && !service.errors && !service.panic) continue;
      if (state.only === "traffic" && !service.rate && !service.in_flight) continue;
      chosen.push(name);
    }
    if (asked || !busy || state.sort === "service" || chosen.length !== names.length) {
      const sign = state.down ? -1 : 1;
      const by = ORDERS[state.sort];
      const collate = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
      chosen.sort(by ? (a, b) => sign * (by(live.services.get(a)) - by(live.services.get(b))) || collate(a, b) : (a, b) => sign * collate(a, b));
      names = chosen;
    } else {
      names = names.filter((name) => live.services.has(name));
    }
    list.sorted(state.sort, state.down);
    setText(found, state.q || state.only ? `${count(names.length)} of ${counted(live.services.size, "service")}` : "");
    empty.hidden = names.length > 0 || live.total === null;
    list.element.hidden = !empty.hidden;
    setText(empty, live.services.size ? "No service is like that." : "No service has signed in yet. PUT /api/v1/services/NAME/instances/ID signs one in; see examples/ for five languages.");
    rows.show(names);
  }

  function tick() {
    if (!live.total) return;
    totals.set(live.total, live.totals);
    const counts = {};
    for (const { availability } of live.services.values()) {
      for (const [state, number] of Object.entries(availability)) counts[state] = (counts[state] ?? 0) + number;
    }
    fleet.set(counts);
    setText(summary, `${counted(live.services.size, "service")}, ${counted(live.total.instances ?? 0, "instance")}`);
    arrange();
  }
  live.addEventListener("tick", tick, { signal });
  tick();
}

function make(name) {
  const anchor = h("a", { href: link("services", name) }, name);
  const health = bar();
  const spark = sparkline();
  const cells = { service: anchor, availability: health.element, trend: spark.element };
  for (const key of ["rate", "errors", "p50", "p99", "in_flight"]) cells[key] = document.createTextNode("");
  const element = shell.row(cells);
  element.addEventListener("click", (event) => {
    if (!event.target.closest("a") && !getSelection().toString()) anchor.click();
  });
  return { element, health, spark, cells };
}

/** Rows are made before they are put into the table on the page. */
const shell = table("", COLUMNS, { kind: "" });

function update(row, name) {
  const service = live.services.get(name);
  if (!service) return;
  row.health.set(service.availability, service.panic);
  write(row.cells.rate, rate(service.rate));
  write(row.cells.errors, share(service.errors, service.rate));
  write(row.cells.p50, seconds(service.p50));
  write(row.cells.p99, seconds(service.p99));
  write(row.cells.in_flight, count(service.in_flight));
  setAttribute(row.element, "data-failing", service.errors > 0 ? "" : null);
  row.spark.set(service.trend);
}

function write(node, text) {
  if (node.data !== text) node.data = text;
}
