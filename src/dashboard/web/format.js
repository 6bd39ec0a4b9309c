// Figures and moments as people read them.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A count. */
export const count = (number) => whole.format(number ?? 0);

/** A count and its noun. */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A rate per second, three digits of it. */
export function rate(number) {
  if (!number) return "0";
  if (number >= 1e6) return `${(number / 1e6).toFixed(1)}M`;
  if (number >= 1e4) return `${(number / 1e3).toFixed(1)}k`;
  if (number >= 100) return whole.format(number);
  if (number >= 10) return number.toFixed(1);
  return number < 0.01 ? "<0.01" : number.toFixed(2);
}

/** Seconds, in the unit that suits them. */
export function seconds(number) {
  if (number === null || number === undefined) return "–";
  if (number === 0) return "0 ms";
  if (number < 0.000_1) return `${Math.round(number * 1e6)} µs`;
  if (number < 0.01) return `${trim((number * 1e3).toFixed(2))} ms`;
  if (number < 1) return `${trim((number * 1e3).toFixed(number < 0.1 ? 1 : 0))} ms`;
  return number < 120 ? `${trim(number.toFixed(2))} s` : `${trim((number / 60).toFixed(1))} min`;
}

/** `part` of `total`; without a total there is none. */
export function share(part, total) {
  if (!total) return "–";
  const percent = (100 * part) / total;
  if (percent === 0) return "0%";
  if (percent < 0.1) return "<0.1%";
  return `${percent < 10 ? trim(percent.toFixed(1)) : Math.round(percent)}%`;
}

const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

/** The time of day of a moment. */
export const timeOf = (moment) => clock.format(new Date(moment));

/** Date and time of a moment. */
export const momentOf = (moment) => full.format(new Date(moment));

/** Where an instance listens. */
export function addressOf({ address, port, scheme }) {
  if (port === null) return `${scheme} ${address}`;
  return `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}`;
}
