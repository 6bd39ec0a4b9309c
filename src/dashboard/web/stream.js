// Server-sent events over fetch: EventSource cannot show a token.

import { call } from "./api.js";

/** Reads the events at `path` until the stream ends or `signal` aborts; `seen` hears of every chunk,
 *  heartbeats too. */
export async function read(path, { signal, event, seen = () => {} }) {
  const response = await call("GET", path, { signal, accept: "text/event-stream" });
  const parser = new Parser(event);
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    seen();
    parser.push(decoder.decode(value, { stream: true }));
  }
}

/** The format of https://html.spec.whatwg.org/#event-stream-interpretation, without `id` and `retry`. */
export class Parser {
  #rest = "";
  #name = "";
  #data = [];
  #event;

  constructor(event) {
    this.#event = event;
  }

  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length) this.#event(this.#name || "message", this.#data.join("\n"));
      this.#name = "";
      this.#data = [];
      return;
    }
    const cut = line.indexOf(":");
    const field = cut < 0 ? line : line.slice(0, cut);
    const value = cut < 0 ? "" : line.slice(cut + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    if (field === "data") this.#data.push(value);
  }
}
