// Long lists: only the rows in sight, and some around them, are in the page.

import { setAttribute } from "./dom.js";
import { Rows } from "./table.js";

const AROUND = 12;

/** Shows the part of a list that the window is scrolled to. All rows are as high as `--row-height` of
 *  `body` says. */
export class VirtualRows {
  #table;
  #body;
  #rows;
  #items = [];
  #keyOf;
  #height = 0;
  #frame = 0;
  #observer;
  #scrolled = () => this.#soon();

  constructor(table, { make, update, keyOf }) {
    this.#table = table.element;
    this.#body = table.body;
    this.#keyOf = keyOf;
    this.#body.classList.add("virtual");
    this.#rows = new Rows(this.#body, ([, item]) => make(item), (row, [at, item]) => {
      row.element.style.transform = `translateY(${at * this.#height}px)`;
      setAttribute(row.element, "aria-rowindex", String(at + 2));
      update(row, item);
    });
    addEventListener("scroll", this.#scrolled, { passive: true });
    this.#observer = new ResizeObserver(this.#scrolled);
    this.#observer.observe(document.documentElement);
  }

  /** Shows other items, or the same with other figures. */
  show(items) {
    this.#items = items;
    this.#soon();
  }

  close() {
    removeEventListener("scroll", this.#scrolled);
    this.#observer.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** Once a frame, however many reasons there are. */
  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw() {
    this.#height = Number.parseFloat(getComputedStyle(this.#body).getPropertyValue("--row-height")) || 44;
    this.#body.style.height = `${this.#items.length * this.#height}px`;
    setAttribute(this.#table, "aria-rowcount", String(this.#items.length + 1));
    const { top } = this.#body.getBoundingClientRect();
    const first = Math.max(0, Math.floor(-top / this.#height) - AROUND);
    const last = Math.min(this.#items.length, Math.ceil((innerHeight - top) / this.#height) + AROUND);
    const shown = [];
    for (let at = first; at < last; at += 1) shown.push([at, this.#items[at]]);
    this.#rows.show(shown, ([, item]) => this.#keyOf(item));
  }
}
