// One request, explained.

import { explained, json } from "./api.js";
import { badge } from "./availability.js";
import { h } from "./dom.js";
import { count, momentOf, seconds, share } from "./format.js";
import { link } from "./router.js";
import { table } from "./table.js";
import { statusOf } from "./view-explain.js";

export const title = ({ part }) => `Request ${part}`;

export async function render({ main, heading, part: id, signal }) {
  heading.before(h("p", { class: "crumbs" }, h("a", { href: link("explain") }, "Explain"), h("span", { "aria-hidden": "true" }, "›"), h("span", {}, id)));
  const waiting = h("p", { class: "empty" }, "Asking…");
  main.append(waiting);
  let told;
  try {
    told = await json("GET", `/explain/${encodeURIComponent(id)}`, { signal });
  } catch (error) {
    if (!signal.aborted) waiting.replaceWith(h("p", { class: "error", role: "alert" }, explained(error)));
    return;
  }
  if (signal.aborted) return;
  waiting.replaceWith(
    h("p", { class: "sentence" }, sentence(told)),
    h("div", { class: "columns" }, section("Request", request(told)), section("Route", route(told)), section("Choice", policy(told))),
    ...told.attempts.map((attempt) => attemptOf(attempt, told)),
    ...(told.refused ? [refusal(told.refused, told)] : []),
  );
}

/** The whole of it in a sentence or two. */
function sentence({ method, target, service, status, took, attempts, refused, error, route }) {
  const parts = [h("code", {}, `${method} ${target}`), " "];
  if (!service) parts.push("led to no service");
  else parts.push("went to ", h("a", { href: link("services", service) }, service), route?.name ? ` by ${route.name}` : " by no route");
  const last = attempts.at(-1);
  if (last) parts.push(`, ${attempts.length === 1 ? "at the first attempt" : `in ${attempts.length} attempts`} to ${last.instance}${last.because ? `: ${last.because}` : ""}`);
  if (refused) parts.push(last ? ", and then to nobody" : ", and to no instance of it", `: ${refused.because}`);
  parts.push(". ", status === null ? "Its client was told nothing" : `It was answered with ${status}`, ` after ${seconds(took)}`);
  if (error && error.detail !== refused?.because) parts.push(` (${error.type}${error.detail ? `: ${error.detail}` : ""})`);
  return [...parts, "."];
}

const section = (name, facts) => h("section", { class: "card" }, h("h2", {}, name), definitions(facts));

function definitions(facts) {
  const kept = facts.filter(([, value]) => value !== null && value !== undefined && value !== false);
  return h("dl", { class: "facts" }, kept.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function request(told) {
  return [
    ["Status", statusOf(told.status)],
    ["At", h("time", { datetime: told.at }, momentOf(told.at))],
    ["Took", `${seconds(told.took)}${told.head === null || told.head === undefined ? "" : `, its head ${seconds(told.head)}`}`],
    ["Client", told.client],
    ["Host", told.host],
    ["Version", told.version],
    ["Copied to", told.copied_to && h("a", { href: link("services", told.copied_to) }, told.copied_to)],
    ["Explained", told.why],
  ];
}

function route({ route: taken }) {
  if (!taken) return [["Route", "it was refused before one was looked for"]];
  const split = taken.split;
  const total = split?.of.reduce((sum, side) => sum + side.weight, 0);
  return [
    ["Name", taken.name ?? "none matched"],
    ["Because", taken.matched.length ? lines(taken.matched) : null],
    ["Split", split && [`${split.side}, by ${split.by}, of `, split.of.map((side) => `${side.service} ${share(side.weight, total)}`).join(", ")]],
    ["Takes off", taken.strip],
    ["Passed over", taken.passed_over?.length ? lines(taken.passed_over.map(({ route: name, because }) => `${name}: ${because}`)) : null],
  ];
}

function policy({ policy: by, service, revision }) {
  if (!by) return [["Service", service ?? "none"]];
  return [
    ["Service", service],
    ["Balance", by.balance],
    ["Key", by.hash && `${by.hash_on} (hash ${by.hash}${by.hash_is_chance ? ", by chance: the request lacks it" : ""})`],
    ["Zone", by.zone],
    ["Panic", by.panic && "too few are available, so all of them take traffic"],
    ["Index", revision === null || revision === undefined ? null : String(revision)],
  ];
}

const lines = (texts) => h("ul", {}, (texts ?? []).map((text) => h("li", {}, text)));

const CANDIDATES = [
  { key: "instance", title: "Candidate" },
  { key: "availability", title: "Availability" },
  { key: "weight", title: "Weight", numeric: true },
  { key: "in_flight", title: "In flight", numeric: true },
  { key: "score", title: "Score", numeric: true },
  { key: "verdict", title: "Verdict" },
];

function attemptOf(attempt, told) {
  const outcome = [attempt.outcome, attempt.status !== null && ` with ${attempt.status}`, attempt.error && `: ${attempt.error.type}${attempt.error.detail ? ` (${attempt.error.detail})` : ""}`];
  return h("section", { class: "card attempt", "data-outcome": attempt.outcome },
    h("h2", {}, `Attempt ${attempt.number}: ${attempt.instance}`, attempt.hedge && h("span", { class: "tag" }, "a hedge, beside the one before")),
    timeline(attempt, told.took),
    definitions([
      ["Chosen", attempt.because && `${attempt.because}${attempt.algorithm ? ` (${attempt.algorithm})` : ""}`],
      ["Waited", waited(attempt)],
      ["Address", attempt.address],
      ["Connection", attempt.connection ? `${attempt.connection.reused ? "a kept one" : "a new one"}, there after ${seconds(attempt.connection.after)}` : null],
      ["Outcome", outcome],
      ["Then", attempt.next],
    ]),
    candidates(`Candidates of attempt ${attempt.number}`, attempt));
}

/** The attempt for which there was nobody. */
function refusal(refused, told) {
  return h("section", { class: "card attempt", "data-outcome": "failed" },
    h("h2", {}, `Attempt ${told.attempts.length + 1}: nobody`),
    definitions([
      ["Because", refused.because],
      ["After", seconds(refused.at)],
      ["Waited", waited(refused)],
    ]),
    candidates("Candidates that were passed over", refused));
}

const waited = (attempt) => attempt.waited && `${seconds(attempt.waited.time)}, ${attempt.waited.because}`;

/** Who there was to choose from. */
function candidates(label, { candidates: seen, candidates_total: total }) {
  if (!seen.length) return null;
  const list = table(label, CANDIDATES, { kind: "candidates" });
  list.body.append(...seen.map((candidate) => list.row(candidateCells(candidate), { "data-chosen": candidate.chosen })));
  const hidden = total - seen.length;
  return [list.element, hidden > 0 && h("p", { class: "note" }, `and ${count(hidden)} more that had nothing to tell`)];
}

function candidateCells(candidate) {
  return {
    instance: [h("strong", {}, candidate.instance), h("span", { class: "address" }, candidate.address)],
    availability: badge(candidate.availability),
    weight: candidate.effective_weight === candidate.weight ? String(candidate.weight) : `${candidate.weight} (now ${candidate.effective_weight})`,
    in_flight: count(candidate.in_flight),
    score: candidate.score === null || candidate.score === undefined ? "–" : String(Number(candidate.score.toPrecision(4))),
    verdict: candidate.chosen ? h("span", { class: "tag fine" }, "✓ chosen") : (candidate.excluded ?? (candidate.drawn ? "drawn, and not chosen" : "not drawn")),
  };
}

/** When the attempt was, within the time of the request. */
function timeline(attempt, took) {
  const all = Math.max(took, 1e-6);
  const end = attempt.ended ?? took;
  const connected = Math.min(end, attempt.connection?.after ?? attempt.at);
  const percent = (time) => `${((100 * Math.max(0, time)) / all).toFixed(2)}%`;
  const before = h("i", { class: "connect" });
  const rest = h("i", { class: "serve" });
  before.style.left = percent(attempt.at);
  before.style.width = percent(connected - attempt.at);
  rest.style.left = percent(connected);
  rest.style.width = percent(end - connected);
  const words = `From ${seconds(attempt.at)} to ${seconds(end)} of ${seconds(took)}`;
  return h("div", { class: "timeline-frame" }, h("div", { class: "timeline", "aria-hidden": "true" }, before, rest), h("small", {}, words));
}
