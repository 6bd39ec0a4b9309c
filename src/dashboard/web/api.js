// Calls of /api/v1. The token lives in this tab's sessionStorage and nowhere else.

const KEY = "callboard-token";
let memory = ""; // where storage is forbidden

/** Told of every refusal for want of a token, and of every change of the token. */
export const tokens = new EventTarget();

/** The token that calls show; empty is none. */
export function token() {
  try {
    return sessionStorage.getItem(KEY) ?? memory;
  } catch {
    return memory;
  }
}

/** Shows another token from now on. */
export function setToken(value) {
  memory = value;
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch {
    // It then lives as long as the page.
  }
  tokens.dispatchEvent(new Event("changed"));
}

/** An answer that is no success; its message is what callboard says. */
export class Problem extends Error {
  constructor(status, body) {
    const words = body?.detail ?? body?.title ?? `callboard answered with status ${status}`;
    const untold = (body?.errors ?? []).filter((error) => !words.includes(error.detail));
    super([words, ...untold.map((error) => `${error.field} ${error.detail}`)].join("; "));
    this.status = status;
    this.type = body?.type ?? null;
  }
}

/** Calls and gives the response, if it is a success.
 *  @throws {Problem} when it is not, and TypeError when callboard cannot be reached. */
export async function call(method, path, { body, signal, accept = "application/json" } = {}) {
  const headers = { Accept: accept };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(`/api/v1${path}`, {
    method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store", credentials: "omit", redirect: "error",
  });
  if (response.ok) return response;
  const problem = new Problem(response.status, await response.json().catch(() => null));
  if (response.status === 401) tokens.dispatchEvent(new CustomEvent("asked", { detail: problem }));
  if (response.status === 403) tokens.dispatchEvent(new CustomEvent("refused", { detail: problem }));
  throw problem;
}

/** Calls and gives the JSON of the answer. */
export async function json(method, path, options) {
  const response = await call(method, path, options);
  return response.status === 204 ? null : response.json();
}

/** The path of an instance. */
export const instancePath = (service, id) => `/services/${encodeURIComponent(service)}/instances/${encodeURIComponent(id)}`;

/** What went wrong, for people. */
export function explained(error) {
  return error instanceof Problem ? error.message : `callboard cannot be reached at ${location.host} (${error.message})`;
}
