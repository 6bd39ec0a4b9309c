// Dialogs: the browser's own, which keep the focus in and give it back.

import { setToken, token } from "./api.js";
import { fill, h } from "./dom.js";

/** Opens a dialog with `content` and resolves to what `read` gives when it is confirmed, else null.
 *  `read` may throw an Error, which is shown and keeps the dialog open; so may what it promises. */
export function open({ title, content = [], confirm = "OK", danger = false, read = () => true }) {
  return new Promise((resolve) => {
    const error = h("p", { class: "error", role: "alert" });
    const submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, confirm);
    let result = null;
    const form = h("form", { novalidate: true }, h("h2", { id: "dialog-title" }, title), content, error,
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), submit));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      try {
        result = await read();
        dialog.close();
      } catch (problem) {
        fill(error, problem.message);
      } finally {
        submit.disabled = false;
      }
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
    (form.querySelector("input") ?? submit).focus();
    form.querySelector("input")?.select();
  });
}

/** Asks for a whole number. */
export function number(label, value, { min = 0, max = 65_535, hint = null } = {}) {
  const input = h("input", { type: "number", min, max, step: 1, value, inputmode: "numeric", required: true });
  return {
    element: h("label", { class: "field" }, h("span", {}, label), input, hint && h("small", {}, hint)),
    input,
    read() {
      const read = Number(input.value);
      if (input.value.trim() === "" || !Number.isInteger(read) || read < min || read > max) {
        input.focus();
        throw new Error(`${label}: ${input.value || "nothing"} is not a whole number from ${min} to ${max}`);
      }
      return read;
    },
  };
}

let asking = false;

/** Asks for a token, unless that is being done; `why` is what callboard said. */
export async function askToken(why = null) {
  if (asking) return;
  asking = true;
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", id: "token-input" });
  const content = [
    why && h("p", {}, why),
    h("label", { class: "field" }, h("span", {}, "Token"), input, h("small", {}, "One that registry.auth of the configuration names. It stays in this tab, and is forgotten when the tab is closed.")),
    token() && h("p", {}, h("button", { type: "button", onclick: (event) => { setToken(""); event.target.closest("dialog").close(); } }, "Forget the token")),
  ];
  const given = await open({ title: "Show a token", content, confirm: "Use it", read: () => {
    const value = input.value.trim();
    if (!/^[\x21-\x7e]+$/.test(value)) throw new Error("A token has visible ASCII characters and no spaces.");
    return value;
  } });
  asking = false;
  if (given) setToken(given);
}

const KEYS = [
  ["/", "search or filter"],
  ["g s", "services"],
  ["g j", "journal"],
  ["g r", "routes"],
  ["g e", "explain"],
  ["?", "this help"],
  ["Esc", "leave a field or a dialog"],
];

/** What can be done with keys, and what the words mean. */
export function help() {
  return open({
    title: "Help",
    confirm: "Close",
    content: [
      h("h3", {}, "Keys"),
      h("dl", { class: "keys" }, KEYS.map(([keys, what]) => [h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, what)])),
      h("h3", {}, "Availability"),
      h("dl", { class: "keys" }, [
        ["● ready", "takes traffic"],
        ["◐ suspect", "takes traffic, while its lease or its last answers raise doubt"],
        ["◔ starting", "has yet to pass its first probe"],
        ["▽ draining", "finishes what it has and gets nothing new"],
        ["✕ unhealthy", "its probes fail"],
        ["⊘ ejected", "it failed the requests it was given"],
      ].map(([word, what]) => [h("dt", {}, word), h("dd", {}, what)])),
    ],
  });
}
