// What is said to people: results at once, changes of the fleet a few seconds apart.

import { h } from "./dom.js";

const PAUSE = 5_000;
const SHOWN = 8_000;
let waiting = [];
let timer = null;

/** Says that something changed, to readers of the screen; at most one sentence every few seconds. */
export function mention(text) {
  waiting.push(text);
  timer ??= setTimeout(() => {
    const said = waiting.slice(0, 3).join(". ");
    const more = waiting.length - 3;
    document.getElementById("polite").textContent = more > 0 ? `${said}. And ${more} more changes.` : said;
    waiting = [];
    timer = null;
  }, PAUSE);
}

/** Says what became of what was asked for. An error stays until it is dismissed. */
export function tell(text, { bad = false, action = null } = {}) {
  document.getElementById(bad ? "assertive" : "polite").textContent = text;
  const close = () => toast.remove();
  const toast = h(
    "div",
    { class: bad ? "toast bad" : "toast", role: "group", "aria-label": bad ? "Error" : "Done" },
    h("span", { class: "sign", "aria-hidden": "true" }, bad ? "✕" : "✓"),
    h("span", {}, text),
    action && h("button", { type: "button", onclick: () => { close(); action.run(); } }, action.name),
    h("button", { type: "button", class: "icon", "aria-label": "Dismiss", onclick: close }, "×"),
  );
  const toasts = document.getElementById("toasts");
  toasts.append(toast);
  while (toasts.children.length > 4) toasts.firstChild.remove();
  if (!bad) setTimeout(close, SHOWN);
}
