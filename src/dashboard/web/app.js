// The frame: which view is shown, the state of the connection, tokens.

import { mention } from "./announce.js";
import { token, tokens } from "./api.js";
import { describe, trouble } from "./availability.js";
import { askToken, help } from "./dialogs.js";
import { fill, h, setAttribute, setText } from "./dom.js";
import { timeOf } from "./format.js";
import { listen } from "./keys.js";
import { live } from "./live.js";
import { current } from "./router.js";
import * as explain from "./view-explain.js";
import * as journal from "./view-journal.js";
import * as request from "./view-request.js";
import * as routes from "./view-routes.js";
import * as service from "./view-service.js";
import * as services from "./view-services.js";

const main = document.getElementById("main");
const banner = document.getElementById("banner");
let first = true;
let leave = new AbortController();

function choose({ view, part }) {
  if (view === "services") return part === null ? services : service;
  if (view === "explain") return part === null ? explain : request;
  if (view === "journal") return journal;
  if (view === "routes") return routes;
  return null;
}

/** Shows what the address names. A view gets a signal that aborts when it is left. */
function show() {
  const place = current();
  const view = choose(place);
  leave.abort();
  leave = new AbortController();
  for (const anchor of document.querySelectorAll("#nav a")) {
    setAttribute(anchor, "aria-current", anchor.hash === `#/${place.view}` ? "page" : null);
  }
  const heading = h("h1", { tabindex: "-1" }, view ? view.title(place) : "There is nothing here");
  document.title = `${heading.textContent} · callboard`;
  fill(main, heading);
  view?.render({ ...place, main, heading, signal: leave.signal });
  if (!first) {
    scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }
  first = false;
}

const WORDS = { connecting: "Connecting", live: "Live", lost: "Disconnected", paused: "Paused", refused: "Token needed" };

function connection() {
  const status = document.getElementById("status");
  setText(status, WORDS[live.state]);
  setAttribute(status, "data-state", live.state);
  // What was read before is shown while it is connected again.
  document.body.classList.toggle("stale", live.state !== "live" && live.total !== null);
  const missed = live.state === "lost" || (live.state === "refused");
  if (!missed) {
    banner.hidden = true;
    return;
  }
  const since = live.total ? `Disconnected since ${timeOf(live.since)}: figures are those of then.` : "callboard cannot be reached.";
  if (live.state === "refused") {
    fill(banner, h("span", {}, live.problem.message), h("button", { type: "button", onclick: () => askToken(live.problem.message) }, "Show a token"));
  } else {
    fill(banner, h("span", { class: "since" }, since), h("span", { class: "retry" }), h("button", { type: "button", onclick: () => live.retry() }, "Try now"));
    countdown();
  }
  banner.hidden = false;
}

function countdown() {
  const words = banner.querySelector(".retry");
  if (!words || live.state !== "lost") return;
  const left = live.retryAt ? Math.max(0, Math.ceil((live.retryAt - Date.now()) / 1000)) : 0;
  setText(words, left > 0 ? `Trying again in ${left} s.` : "Trying again.");
}

/** Says which services got better or worse, for those who do not see the bars. */
function watchFleet() {
  const before = new Map();
  let told = false;
  live.addEventListener("tick", () => {
    for (const [name, { availability }] of live.services) {
      const words = describe(availability);
      if (told && before.get(name) !== words) {
        mention(`${name}: ${words}${trouble(availability) >= 1 ? ", none takes traffic" : ""}`);
      }
      before.set(name, words);
    }
    for (const name of before.keys()) {
      if (live.services.has(name)) continue;
      before.delete(name);
      mention(`${name} is gone`);
    }
    told = true;
  });
}

function tokenButton() {
  const button = document.getElementById("token");
  const show = (refused) => {
    setText(button, token() ? (refused ? "Token: read only" : "Token ✓") : "Token");
    setAttribute(button, "title", refused ? refused.message : "The token that calls show");
  };
  show();
  button.addEventListener("click", () => askToken());
  tokens.addEventListener("changed", () => show());
  tokens.addEventListener("asked", ({ detail }) => askToken(detail.message));
  tokens.addEventListener("refused", ({ detail }) => show(detail));
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.getElementById("help").addEventListener("click", help);
addEventListener("hashchange", show);
tokens.addEventListener("changed", show);
live.addEventListener("state", connection);
live.addEventListener("state", () => {
  if (live.state === "lost" && !live.announced) mention("Disconnected from callboard");
  live.announced = live.state === "lost";
});
setInterval(countdown, 500);
tokenButton();
watchFleet();
listen();
show();
live.start();
