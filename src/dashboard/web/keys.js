// Shortcuts. Nothing depends on them: all that they reach can be reached by Tab.

import { help } from "./dialogs.js";
import { go, link } from "./router.js";

const VIEWS = new Map(Object.entries({ s: "services", j: "journal", r: "routes", e: "explain" }));

/** Listens to the keyboard. */
export function listen() {
  let prefix = false;
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, dialog");
    if (event.key === "Escape" && event.target.matches?.("main input")) event.target.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const begun = prefix;
    prefix = event.key === "g";
    if (begun && VIEWS.has(event.key)) go(link(VIEWS.get(event.key)));
    else if (event.key === "/") document.querySelector("main input[type=search]")?.focus();
    else if (event.key === "?") help();
    else return;
    event.preventDefault();
  });
}
