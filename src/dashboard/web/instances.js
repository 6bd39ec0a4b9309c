// The table of a service's instances, and what its buttons do.

import { tell } from "./announce.js";
import { Problem, explained, instancePath, json } from "./api.js";
import { badge, setBadge } from "./availability.js";
import { askToken, number, open } from "./dialogs.js";
import { fill, h, setAttribute, setText } from "./dom.js";
import { addressOf, count } from "./format.js";
import { Rows, table } from "./table.js";

const COLUMNS = [
  { key: "id", title: "Instance", sort: true },
  { key: "availability", title: "Availability", sort: true },
  { key: "weight", title: "Weight", sort: true, numeric: true },
  { key: "zone", title: "Zone", sort: true },
  { key: "tags", title: "Tags" },
  { key: "in_flight", title: "In flight", sort: true, numeric: true },
  { key: "served", title: "Served", sort: true, numeric: true },
  { key: "lease", title: "Lease" },
  { key: "actions", title: "Actions" },
];

/** The table. `alone` says whether an instance is the only one that takes traffic; `refresh` asks for
 *  the list again. */
export function instanceRows({ refresh, sort, alone }) {
  const list = table("Instances", COLUMNS, { kind: "instances", onsort: sort });
  const rows = new Rows(list.body, make, update);

  function make() {
    const row = { instance: null };
    const c = (row.parts = {
      name: h("strong", {}),
      address: h("span", { class: "address" }),
      badge: badge("starting"),
      reason: h("span", { class: "reason" }),
      weight: h("button", { type: "button", class: "quiet", onclick: () => reweigh(row.instance) }),
      effective: h("small", {}),
      drain: h("button", { type: "button", onclick: () => (row.instance.draining ? undrain(row.instance) : drain(row.instance)) }),
    });
    row.cells = { id: [c.name, c.address], availability: [c.badge, c.reason], weight: [c.weight, c.effective], actions: c.drain };
    for (const key of ["zone", "tags", "in_flight", "served", "lease"]) row.cells[key] = h("span", {});
    row.element = list.row(row.cells);
    return row;
  }

  function update(row, instance) {
    row.instance = instance;
    const c = row.parts;
    setText(c.name, instance.id);
    setText(c.address, addressOf(instance));
    setBadge(c.badge, instance.availability);
    setText(c.reason, instance.reason ?? "");
    setText(c.weight, String(instance.weight));
    setAttribute(c.weight, "aria-label", `Weight of ${instance.id}: ${instance.weight}. Change it`);
    setText(c.effective, instance.effective_weight === instance.weight ? "" : `now ${instance.effective_weight}`);
    setText(row.cells.zone, instance.zone ?? "–");
    const tags = instance.tags.join("\n");
    if (row.tags !== tags) {
      row.tags = tags;
      fill(row.cells.tags, instance.tags.length ? instance.tags.map((tag) => h("span", { class: "tag" }, tag)) : "–");
    }
    setText(row.cells.in_flight, count(instance.in_flight));
    setText(row.cells.served, count(instance.served));
    setText(row.cells.lease, instance.lease ? `${instance.lease.expires_in} of ${instance.lease.ttl}` : "static");
    setText(c.drain, instance.draining ? "Undrain" : "Drain");
    setAttribute(c.drain, "aria-label", `${instance.draining ? "Undrain" : "Drain"} ${instance.id}`);
  }

  async function drain(instance) {
    const left = alone(instance.id);
    if (left) {
      const words = `No other instance of ${instance.service} takes traffic: requests will be answered with 503 until one does.`;
      if (!(await open({ title: `Drain ${instance.id}?`, content: h("p", {}, words), confirm: "Drain it", danger: true }))) return;
    }
    await change("PUT", instance, "/drain", undefined, `${instance.id} is draining: it finishes what it has and gets nothing new`);
  }

  const undrain = (instance) => change("DELETE", instance, "/drain", undefined, `${instance.id} takes traffic again`);

  async function reweigh(instance) {
    const weight = number("Weight", instance.weight, { hint: "0 to 65535, relative to the other instances; 0 takes no traffic." });
    const last = h("p", { class: "warning", hidden: true }, `No other instance of ${instance.service} takes traffic: with 0 its requests will be answered with 503.`);
    weight.input.addEventListener("input", () => {
      last.hidden = Number(weight.input.value) !== 0 || !alone(instance.id);
    });
    const chosen = await open({ title: `Weight of ${instance.id}`, content: [weight.element, last], confirm: "Set it", read: () => ({ weight: weight.read() }) });
    if (!chosen || chosen.weight === instance.weight) return;
    await change("PATCH", instance, "", chosen, `${instance.id} has weight ${chosen.weight}`);
  }

  async function change(method, instance, below, body, done) {
    try {
      await json(method, instancePath(instance.service, instance.id) + below, { body });
      tell(done);
    } catch (error) {
      const forbidden = error instanceof Problem && error.status === 403;
      tell(explained(error), { bad: true, action: forbidden ? { name: "Other token", run: () => askToken(error.message) } : null });
    }
    refresh();
  }

  return { element: list.element, sorted: list.sorted, show: (instances) => rows.show(instances, (instance) => instance.id) };
}
