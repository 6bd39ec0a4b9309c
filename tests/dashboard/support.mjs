// A callboard of its own for each test, its instances, and a browser that tells of everything that goes
// wrong on the page.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { chromium } from "playwright-core";

const BIN = process.env.CALLBOARD_BIN ?? new URL("../../target/debug/callboard", import.meta.url).pathname;
const PATIENCE = 60_000;

/** Waits until `condition` gives something true, and gives that. */
export async function eventually(what, condition) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const found = await condition();
    if (found) return found;
    assert.ok(Date.now() < end, `waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

const stacks = new WeakMap();

/** Does `what` when the test ends: the last thing first, as pages are to be closed before callboard is. */
function later(t, what) {
  if (!stacks.has(t)) {
    stacks.set(t, []);
    t.after(async () => {
      for (const last of stacks.get(t).reverse()) await last();
    });
  }
  stacks.get(t).push(what);
}

/** A loopback port that is free at this moment. */
async function freePort() {
  const socket = createSocket();
  await new Promise((resolve) => socket.listen(0, "127.0.0.1", resolve));
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

/** A process that ends with the test. */
function run(t, command, args, env = {}) {
  const child = spawn(command, args, { env: { ...process.env, RUST_LOG: "warn", ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (log += data));
  const ended = new Promise((resolve) => {
    child.on("exit", resolve);
    child.on("error", (error) => {
      log += error.message;
      resolve();
    });
  });
  const stop = async (signal = "SIGKILL") => {
    if (child.pid && child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
  };
  later(t, () => stop());
  return { stop, ended, signal: (name) => child.kill(name), log: () => log };
}

/** A running callboard. `config` is YAML that is added to its configuration,
 *  `auth` to what it says of the registry; calls show `token`. */
export async function callboard(t, config = "", { auth = "", token = null } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "callboard-dashboard."));
  const [proxy, registry] = [await freePort(), await freePort()];
  const base = `http://127.0.0.1:${registry}`;
  const file = join(folder, "proxy.yaml");
  const write = (auth) => writeFile(file, `proxy: {listen: ["127.0.0.1:${proxy}"]}
registry:
  listen: "127.0.0.1:${registry}"
  store: {sqlite: {path: "${folder}/callboard.db"}}
${auth}
${config}
`);
  await write(auth);
  later(t, () => rm(folder, { recursive: true, force: true }));
  const board = { base, proxy: `http://127.0.0.1:${proxy}`, process: null };
  board.call = async (method, path, body, headers = {}) => {
    const response = await fetch(`${base}/api/v1${path}`, { method, body: body && JSON.stringify(body), headers: { ...(token && { Authorization: `Bearer ${token}` }), ...headers } });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  };
  board.start = async () => {
    board.process = run(t, BIN, ["run", "--config", file]);
    await eventually("callboard is ready", async () => {
      const answer = await fetch(`${base}/readyz`).catch(() => null);
      return answer?.ok;
    }).catch((error) => {
      throw new Error(`${error.message}: ${board.process.log()}`);
    });
  };
  /** Reads the configuration again, with another `auth`. */
  board.reload = async (auth) => {
    await write(auth);
    board.process.signal("SIGHUP");
  };
  /** Has another process take the place of the one that runs. */
  board.upgrade = async () => {
    const before = board.process;
    board.process = run(t, BIN, ["upgrade", "--config", file]);
    const left = await Promise.race([before.ended.then(() => true), board.process.ended.then(() => false)]);
    assert.ok(left, board.process.log());
  };
  await board.start();
  return board;
}

/** Something that answers requests, for instances to be at; gives its port. */
export async function backend(t, answer = (_, response) => response.end("fine")) {
  const server = createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  later(t, () => {
    server.close();
    server.closeAllConnections();
  });
  return server.address().port;
}

/** Signs an instance in that needs no heartbeats. */
export const signIn = (board, service, id, port, more = {}) =>
  board.call("PUT", `/services/${service}/instances/${id}`, { address: "127.0.0.1", port, lease: null, ...more });

/** The example service in Rust, a process of its own that keeps its lease. */
export function example(t, board, id) {
  const program = join(BIN, "../examples/hello");
  assert.ok(existsSync(program), `${program} is missing: cargo build --example hello`);
  return run(t, program, [], { CALLBOARD: board.base, INSTANCE_ID: id });
}

/** What is said of an instance. */
export const instance = (board, service, id) => board.call("GET", `/services/${service}/instances/${id}`);

/** A browser for the tests of a file. */
export async function browser() {
  const launched = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  after(() => launched.close());
  return launched;
}

/** A page of the dashboard. When the test ends, nothing may have been said on its console, and nothing
 *  asked of anybody else. `failing` permits requests that fail, which browsers note there. */
export async function open(t, launched, board, view = "", { failing = false, ...options } = {}) {
  const context = await launched.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const wrong = [];
  page.on("console", (message) => {
    const expected = failing && message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !expected) wrong.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(error.stack));
  page.on("request", (request) => {
    if (!request.url().startsWith(`${board.base}/`)) wrong.push(`a request to ${request.url()}`);
  });
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  later(t, async () => {
    await context.close();
    assert.deepEqual(wrong, []);
  });
  const response = await page.goto(`${board.base}/${view}`);
  const policy = response.headers()["content-security-policy"];
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/);
  return page;
}

/** Waits until the page is told figures. */
export const isLive = (page) => page.locator('#status[data-state="live"]').waitFor();

/** The row of a table with this cell. */
export const row = (page, name) => page.getByRole("row").filter({ has: page.getByText(name, { exact: true }) });
