// Tables that become cards on a phone. They are made of elements with roles: CSS that lays a <table>
// out anew takes its meaning from it.

import { h, order, setAttribute } from "./dom.js";

/** A table of these columns, each with `key`, `title`, and `sort` if it can be ordered by. `onsort`
 *  hears of a wish for another order. */
export function table(label, columns, { kind, onsort = null }) {
  const heads = columns.map(({ key, title, sort, numeric, hint }) =>
    h(
      "span",
      { role: "columnheader", class: numeric ? `${key} numeric` : key, "data-key": key, title: hint },
      sort && onsort ? h("button", { type: "button", onclick: () => onsort(key) }, title, h("i", { class: "arrow", "aria-hidden": "true" })) : h("span", {}, title),
    ),
  );
  const body = h("div", { role: "rowgroup", class: "rows" });
  const element = h("div", { role: "table", class: `table ${kind}`, "aria-label": label }, h("div", { role: "rowgroup", class: "head" }, h("div", { role: "row", class: "row" }, heads)), body);
  return {
    element,
    body,
    /** Shows what it is ordered by. */
    sorted(key, descending) {
      for (const [at, head] of heads.entries()) {
        if (!columns[at].sort) continue;
        setAttribute(head, "aria-sort", columns[at].key === key ? (descending ? "descending" : "ascending") : "none");
      }
    },
    /** A row with one cell to a column; `cells` are keyed as the columns are. */
    row(cells, attributes = {}) {
      return h("div", { role: "row", class: "row", ...attributes }, columns.map(({ key, title, numeric }) => h("span", { role: "cell", class: numeric ? `${key} numeric` : key, "data-title": title }, cells[key])));
    },
  };
}

/** Keeps one row for each key: made once, kept up to date, gone with its key. */
export class Rows {
  #rows = new Map();
  #body;
  #make;
  #update;

  constructor(body, make, update) {
    this.#body = body;
    this.#make = make;
    this.#update = update;
  }

  /** Shows `items` in this order; `keyOf` tells them apart. */
  show(items, keyOf) {
    const before = this.#rows;
    this.#rows = new Map();
    const elements = [];
    for (const item of items) {
      const key = keyOf(item);
      const row = before.get(key) ?? this.#make(item);
      this.#rows.set(key, row);
      this.#update(row, item);
      elements.push(row.element);
    }
    order(this.#body, elements);
  }
}
