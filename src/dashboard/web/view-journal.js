// The journal: what changed, when, by whom and why, as it happens.

import { mention } from "./announce.js";
import { explained, json } from "./api.js";
import { h, setText } from "./dom.js";
import { addressOf, counted, momentOf, timeOf } from "./format.js";
import { live } from "./live.js";
import { repeat } from "./polling.js";
import { link, note } from "./router.js";
import { Rows, table } from "./table.js";

const PAGE = 100;
/** Entries that are kept in the page. */
const MOST = 1_000;

export const title = () => "Journal";

const COLUMNS = [
  { key: "at", title: "Time" },
  { key: "change", title: "Change" },
  { key: "service", title: "Service" },
  { key: "id", title: "Instance" },
  { key: "by", title: "By" },
  { key: "why", title: "Why" },
];

const SIGNS = new Map(Object.entries({ registered: "+", patched: "~", drained: "▽", undrained: "△", deregistered: "−", expired: "×" }));

export function render({ main, params, signal }) {
  let service = params.get("service") ?? "";
  let entries = [];
  let asked = null;
  const names = h("datalist", { id: "service-names" });
  const filter = h("input", { type: "search", list: "service-names", placeholder: "Service  ( / )", "aria-label": "Only of this service", value: service, spellcheck: "false", autocomplete: "off" });
  const found = h("span", { class: "found", role: "status" });
  const problem = h("p", { class: "error", role: "alert" });
  const list = table("Changes, newest first", COLUMNS, { kind: "journal" });
  const rows = new Rows(list.body, (entry) => ({ element: list.row(cells(entry), { "data-change": entry.change }) }), () => {});
  const empty = h("p", { class: "empty", hidden: true }, "Nothing has changed yet.");
  const older = h("button", { type: "button", hidden: true, onclick: earlier }, "Earlier changes");
  main.append(h("div", { class: "filters" }, filter, names, found), problem, list.element, empty, older);

  filter.addEventListener("focus", () => names.replaceChildren(...[...live.services.keys()].slice(0, 500).map((name) => h("option", { value: name }))), { once: true });
  filter.addEventListener("input", () => {
    service = filter.value.trim().toLowerCase();
    note({ service });
    entries = [];
    refresh();
  });

  const path = (more) => `/journal?${new URLSearchParams({ limit: String(PAGE), ...(service && { service }), ...more })}`;

  async function ask() {
    const wanted = service;
    asked = live.index;
    try {
      const page = await json("GET", path(), { signal });
      if (wanted !== service) return;
      const newest = entries[0]?.index ?? 0;
      const fresh = page.filter((entry) => entry.index > newest);
      // A page that does not reach back to what is known leaves a gap: it starts anew.
      const gap = fresh.length === PAGE;
      if (newest && fresh.length) mention(`Journal: ${counted(fresh.length, "change")}, the last one: ${fresh[0].id} of ${fresh[0].service} ${fresh[0].change}`);
      if (!newest || gap) older.hidden = page.length < PAGE;
      entries = gap ? page : [...fresh, ...entries].slice(0, MOST);
      setText(problem, "");
      draw();
    } catch (error) {
      if (signal.aborted) return;
      if (wanted === service && !entries.length) draw();
      setText(problem, explained(error));
    }
  }

  async function earlier() {
    try {
      const page = await json("GET", path({ before: String(entries.at(-1).index) }), { signal });
      entries = [...entries, ...page].slice(0, MOST);
      older.hidden = page.length < PAGE || entries.length >= MOST;
      draw();
    } catch (error) {
      if (!signal.aborted) setText(problem, explained(error));
    }
  }

  function draw() {
    rows.show(entries, (entry) => `${entry.index}/${entry.service}/${entry.id}`);
    list.element.hidden = entries.length === 0;
    empty.hidden = entries.length > 0;
    setText(found, `${counted(entries.length, "change")}${older.hidden ? "" : " and more"}`);
  }

  const refresh = repeat(ask, 10_000, signal);
  live.addEventListener("tick", () => live.index !== asked && refresh(), { signal });
}

function cells(entry) {
  const { by } = entry;
  const who = by.actor === "client" ? [by.token, by.peer].filter(Boolean).join(" from ") : by.actor === "registry" ? by.registry : by.actor;
  return {
    at: h("time", { datetime: entry.at, title: momentOf(entry.at) }, timeOf(entry.at)),
    change: h("span", { class: "change" }, h("span", { class: "sign", "aria-hidden": "true" }, SIGNS.get(entry.change) ?? "·"), entry.change),
    service: h("a", { href: link("services", entry.service) }, entry.service),
    id: entry.id,
    by: who,
    why: entry.why ?? (entry.change === "registered" && entry.instance ? h("span", { class: "address" }, whereOf(entry.instance)) : ""),
  };
}

function whereOf(instance) {
  return [addressOf(instance), `weight ${instance.weight}`, instance.zone].filter(Boolean).join(" · ");
}
