// The requests that are explained, newest first.

import { explained, json } from "./api.js";
import { h, setText } from "./dom.js";
import { counted, momentOf, seconds, timeOf } from "./format.js";
import { repeat } from "./polling.js";
import { go, link, note } from "./router.js";
import { Rows, table } from "./table.js";

export const title = () => "Explain";

const COLUMNS = [
  { key: "at", title: "Time" },
  { key: "status", title: "Status" },
  { key: "request", title: "Request" },
  { key: "service", title: "Service" },
  { key: "instance", title: "Instance" },
  { key: "attempts", title: "Attempts", numeric: true },
  { key: "took", title: "Took", numeric: true },
];

export function render({ main, params, signal }) {
  const state = { service: params.get("service") ?? "", status: params.get("status") ?? "" };
  const id = h("input", { type: "search", placeholder: "Request id  ( / )", "aria-label": "Request id", spellcheck: "false", autocomplete: "off" });
  const service = h("input", { type: "text", placeholder: "Service", "aria-label": "Only of this service", value: state.service, spellcheck: "false", autocomplete: "off" });
  const status = h("input", { type: "text", placeholder: "Status", "aria-label": "Only with this status", value: state.status, inputmode: "numeric", size: 6, autocomplete: "off" });
  const found = h("span", { class: "found", role: "status" });
  const problem = h("p", { class: "error", role: "alert" });
  const list = table("Explained requests, newest first", COLUMNS, { kind: "requests" });
  const rows = new Rows(list.body, (entry) => ({ element: list.row(cells(entry)) }), () => {});
  const empty = h("div", { class: "empty", hidden: true }, h("p", {}, "No request like that was explained yet."), h("p", {}, "callboard explains the share of requests that telemetry.explain names, and those that ask for it from a network it trusts:"), h("pre", {}, `curl -i -H 'X-Callboard-Explain: 1' http://${location.hostname}:8080/SERVICE/`));
  const find = h("form", { class: "find" }, id, h("button", { type: "submit" }, "Explain"));
  find.addEventListener("submit", (event) => {
    event.preventDefault();
    if (id.value.trim()) go(link("explain", id.value.trim()));
  });
  for (const [key, input] of Object.entries({ service, status })) {
    input.addEventListener("input", () => {
      state[key] = input.value.trim().toLowerCase();
      note(state);
      refresh();
    });
  }
  main.append(h("p", { class: "lead" }, "Why a request went where it went: its route, the instances there were to choose from, and every attempt. Its id is in the X-Request-Id header of the answer."), find, h("div", { class: "filters" }, service, status, found), problem, list.element, empty);

  const refresh = repeat(async () => {
    // A status is asked for once it is whole.
    const wanted = Object.entries(state).filter(([key, value]) => value && (key !== "status" || value.length >= 3));
    try {
      const entries = await json("GET", `/explain?${new URLSearchParams([["limit", "50"], ...wanted])}`, { signal });
      setText(problem, "");
      rows.show(entries, (entry) => `${entry.id} ${entry.at}`);
      setText(found, counted(entries.length, "request"));
      list.element.hidden = entries.length === 0;
      empty.hidden = entries.length > 0;
    } catch (error) {
      if (!signal.aborted) setText(problem, explained(error));
    }
  }, 2_000, signal);
}

function cells(entry) {
  return {
    at: h("time", { datetime: entry.at, title: momentOf(entry.at) }, timeOf(entry.at)),
    status: statusOf(entry.status),
    request: h("a", { href: link("explain", entry.id), title: `${entry.method} ${entry.host ?? ""}${entry.target}` }, `${entry.method} ${entry.target}`),
    service: entry.service ? h("a", { href: link("services", entry.service) }, entry.service) : "–",
    instance: entry.instance ?? "–",
    attempts: String(entry.attempts),
    took: seconds(entry.took),
  };
}

/** A status, marked by its class. */
export function statusOf(status) {
  const kind = status === null || status === undefined ? "none" : status >= 500 ? "bad" : status >= 400 ? "warn" : "fine";
  return h("span", { class: `http ${kind}` }, status ?? "no answer");
}
