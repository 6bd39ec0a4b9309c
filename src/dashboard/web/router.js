// Where the page is: `#/view/part?name=value`. The address bar is the only place that knows.

/** The view that the address names. */
export function current() {
  const text = location.hash.startsWith("#/") ? location.hash.slice(2) : "services";
  const cut = text.indexOf("?");
  const path = cut < 0 ? text : text.slice(0, cut);
  const parts = path.split("/").map(decoded);
  return { view: parts[0] || "services", part: parts.slice(1).join("/") || null, params: new URLSearchParams(cut < 0 ? "" : text.slice(cut + 1)) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a view. */
export function link(view, part = null, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value));
  const path = part === null ? view : `${view}/${encodeURIComponent(part)}`;
  return `#/${path}${query.size ? `?${query}` : ""}`;
}

/** Goes to an address; the way back is kept. */
export function go(address) {
  location.hash = address;
}

/** Notes a change within the view (a filter, an order): no entry in the history for every key. */
export function note(params) {
  const { view, part } = current();
  history.replaceState(null, "", link(view, part, params));
}
