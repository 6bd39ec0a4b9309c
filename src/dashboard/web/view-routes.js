// Routes in the order they are tried, and their splits.

import { tell } from "./announce.js";
import { explained, json } from "./api.js";
import { number, open } from "./dialogs.js";
import { fill, h } from "./dom.js";
import { share } from "./format.js";
import { repeat } from "./polling.js";
import { link } from "./router.js";

export const title = () => "Routes";

export function render({ main, signal }) {
  const problem = h("p", { class: "error", role: "alert" });
  const list = h("ol", { class: "routes" });
  main.append(h("p", { class: "lead" }, "The first route that matches a request takes it. Unless default_routes is off, a request that none of them takes goes to the service that its path or host names."), problem, list);
  let shown = null;

  const refresh = repeat(async () => {
    try {
      const routes = await json("GET", "/routes", { signal });
      problem.textContent = "";
      const text = JSON.stringify(routes);
      if (text === shown) return; // what has the focus keeps it
      shown = text;
      fill(list, routes.length ? routes.map(card) : h("li", { class: "empty" }, "The configuration names no routes. Every service is reachable as /SERVICE/… and by the host SERVICE.callboard, unless default_routes is off."));
    } catch (error) {
      if (!signal.aborted) problem.textContent = explained(error);
    }
  }, 2_000, signal);

  function card(route, at) {
    const name = route.name ?? `routes[${at}]`;
    const total = route.split.reduce((sum, side) => sum + side.weight, 0);
    const isSplit = route.split.length > 1;
    const bars = isSplit && h("div", { class: "split-bar", "aria-hidden": "true" }, route.split.map((_, side) => h("i", { class: `side side-${side % 6}` })));
    for (const [side, { weight }] of isSplit ? route.split.entries() : []) bars.children[side].style.flexGrow = String(weight);
    return h("li", { class: "card route" },
      h("div", { class: "route-head" }, h("h2", {}, name), route.overridden && h("span", { class: "tag warn" }, "split set by hand"), route.split_on && h("span", { class: "tag" }, `kept by ${route.split_on}`),
        route.name && (isSplit || route.overridden) && h("div", { class: "buttons" },
          h("button", { type: "button", "aria-label": `Shift the split of ${name}`, onclick: () => shift(route) }, "Shift"),
          route.overridden && h("button", { type: "button", "aria-label": `Reset the split of ${name}`, onclick: () => reset(route) }, "Reset to the configuration"))),
      h("p", { class: "match" }, matches(route.match).map((part) => h("code", {}, part)), route.strip_prefix && h("span", {}, " takes off ", h("code", {}, route.strip_prefix))),
      bars,
      h("ul", { class: "sides" }, route.split.map((side, index) => h("li", {}, h("i", { class: `key side-${index % 6}`, "aria-hidden": "true" }), h("a", { href: link("services", side.service) }, side.service), isSplit && [` ${share(side.weight, total)}`, h("small", {}, ` weight ${side.weight}`)]))),
      route.mirror && h("p", { class: "match" }, `Copies of ${share(route.mirror.share, 1)} of the requests go to `, h("a", { href: link("services", route.mirror.service) }, route.mirror.service)));
  }

  async function shift(route) {
    const sides = route.split.map((side) => ({ service: side.service, field: number(side.service, side.weight) }));
    const done = await open({
      title: `Split of ${route.name}`,
      content: [h("p", {}, "Weights are relative to each other. They hold from the next request on, and survive a restart."), sides.map(({ field }) => field.element)],
      confirm: "Shift traffic",
      danger: true,
      read: () => put(route, { split: sides.map(({ service, field }) => ({ service, weight: field.read() })) }),
    });
    if (done) tell(`The split of ${route.name} is ${done.split.map((side) => `${side.service} ${side.weight}`).join(", ")}`);
    refresh();
  }

  async function reset(route) {
    const sure = await open({ title: `Reset the split of ${route.name}?`, content: h("p", {}, "The split of the configuration holds again, from the next request on."), confirm: "Reset it", danger: true, read: () => json("DELETE", `/routes/${encodeURIComponent(route.name)}/split`).then(() => true) });
    if (sure) tell(`The split of ${route.name} is that of the configuration`);
    refresh();
  }
}

async function put(route, body) {
  return json("PUT", `/routes/${encodeURIComponent(route.name)}/split`, { body });
}

function matches({ host, path, methods, headers }) {
  const parts = [host && `host ${host}`, path && `path ${path}`, methods.length && methods.join(" "), ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)].filter(Boolean);
  return parts.length ? parts : ["every request"];
}
