// Small charts in SVG over the ticks of a Series, with their figures as text.

import { h, setAttribute, setText, svg } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 64;

/** A card with a headline figure and its last two minutes. `lines` are the figures drawn, each with
 *  its `name`, `label` and `format`; the first one has an area below it. */
export function chart(title, lines) {
  const value = h("strong", { class: "value" }, "–");
  const note = h("span", { class: "note" });
  const paths = lines.map((_, at) => svg("path", { class: `line line-${at}`, "vector-effect": "non-scaling-stroke" }));
  const area = svg("path", { class: "area" });
  const marker = svg("line", { class: "marker", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke", visibility: "hidden" });
  const picture = svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title }, area, paths, marker);
  const top = h("span", { class: "top-of-scale", "aria-hidden": "true" });
  const readout = h("span", { class: "readout", "aria-hidden": "true" });
  const legend = lines.length > 1 && h("span", { class: "legend", "aria-hidden": "true" }, lines.map(({ label }, at) => h("span", { class: `key key-${at}` }, label)));
  const element = h("section", { class: "card chart" }, h("h2", {}, title), h("p", { class: "headline" }, value, note), top, h("div", { class: "plot-frame" }, picture, readout), legend);
  let shown = null;
  let pointed = null;

  function point() {
    const at = shown && pointed !== null ? Math.round(pointed * (shown.length - 1)) - (shown.length - shown.size) : -1;
    const inside = at >= 0 && at < (shown?.size ?? 0);
    setAttribute(marker, "visibility", inside ? "visible" : "hidden");
    readout.hidden = !inside;
    if (!inside) return;
    const x = (pointed * WIDTH).toFixed(1);
    setAttribute(marker, "x1", x);
    setAttribute(marker, "x2", x);
    const said = lines.map(({ name, label, format }) => `${lines.length > 1 ? `${label} ` : ""}${format(defined(shown.at(name, at)))}`);
    setText(readout, `${shown.size - 1 - at} s ago: ${said.join(", ")}`);
  }
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    pointed = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    point();
  });
  picture.addEventListener("pointerleave", () => {
    pointed = null;
    point();
  });

  return {
    element,
    set(text, words, series) {
      shown = series;
      setText(value, text);
      setText(note, words);
      const max = Math.max(...lines.map(({ name }) => series.max(name))) || 1;
      for (const [at, { name }] of lines.entries()) setAttribute(paths[at], "d", trace(series, name, max));
      setAttribute(area, "d", trace(series, lines[0].name, max, true));
      const peak = lines.map(({ name }) => series.max(name));
      setText(top, `max ${lines[0].format(Math.max(...peak))}`);
      const said = lines.map(({ name, label, format }) => `${label} now ${format(defined(series.at(name, series.size - 1)))}, at most ${format(series.max(name))}`);
      setAttribute(picture, "aria-label", `${title}, the last ${series.size} seconds: ${said.join("; ")}`);
      point();
    },
  };
}

/** A line of a rate, without words: the rate stands beside it. */
export function sparkline() {
  const line = svg("path", { class: "line line-0", "vector-effect": "non-scaling-stroke" });
  const area = svg("path", { class: "area" });
  const element = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, area, line);
  return {
    element,
    set(series) {
      const max = series.max("rate") || 1;
      setAttribute(line, "d", trace(series, "rate", max));
      setAttribute(area, "d", trace(series, "rate", max, true));
    },
  };
}

/** The path of a figure, the newest value at the right edge. It is interrupted where there is none. */
function trace(series, name, max, closed = false) {
  const step = WIDTH / (series.length - 1);
  const first = series.length - series.size;
  let path = "";
  let begun = null;
  let last = 0;
  const close = () => (closed && begun !== null ? `L${last.toFixed(1)} ${HEIGHT}L${begun.toFixed(1)} ${HEIGHT}Z` : "");
  for (let at = 0; at < series.size; at += 1) {
    const value = series.at(name, at);
    if (Number.isNaN(value)) {
      path += close();
      begun = null;
      continue;
    }
    const x = (first + at) * step;
    const y = HEIGHT - 2 - (value / max) * (HEIGHT - 6);
    path += `${begun === null ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    begun ??= x;
    last = x;
  }
  return path + close();
}

const defined = (value) => (Number.isNaN(value) || value === undefined ? null : value);
