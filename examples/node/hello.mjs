// A service that signs in at callboard. Node 18 or newer, built-in modules only.
//
// Run it:     node examples/node/hello.mjs
// Call it:    curl http://127.0.0.1:8080/hello/world
// Settings:   CALLBOARD, SERVICE, INSTANCE_ID, PORT, ADDRESS (see examples/README.md)
//
// To put a service of your own on callboard, keep `stay` and `leave` and replace `hello`.

import { createServer } from "node:http";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const { CALLBOARD = "http://127.0.0.1:8500", SERVICE = "hello", PORT = "0", ADDRESS } = process.env;
const INSTANCE_ID = process.env.INSTANCE_ID ?? `${hostname()}-${process.pid}`;
const url = `${CALLBOARD}/api/v1/services/${SERVICE}/instances/${INSTANCE_ID}`;

/** The service itself: /health says it is well, anything else says who answered. */
function hello(request, response) {
  const body = JSON.stringify({ language: "node", instance: INSTANCE_ID, path: request.url });
  response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}

/** Keeps this instance signed in until `leaving` is aborted. */
async function stay(port, leaving) {
  const registration = {
    port,
    address: ADDRESS, // left out, callboard takes the address this call comes from
    lease: { ttl: "5s" }, // without a heartbeat for this long, callboard doubts us
    check: { http: { path: "/health" } }, // and it asks for itself as well
    metadata: { language: "node" },
    generation: Date.now(), // a late call of an earlier life is refused
  };
  let renewAfter = null; // not signed in yet
  while (!leaving.aborted) {
    let pause = 1000; // callboard is away: keep serving, keep asking
    try {
      const signedIn = renewAfter !== null;
      const response = await (signedIn ? call("PUT", `${url}/lease`) : call("PUT", url, registration));
      if (response.ok) {
        if (!signedIn) {
          renewAfter = milliseconds((await response.json()).lease.renew_after);
          console.log(`signed in as ${SERVICE}/${INSTANCE_ID}`);
        }
        pause = renewAfter;
      } else if (response.status === 404 && signedIn) {
        renewAfter = null; // callboard does not know us: sign in again
        pause = 0;
      } else {
        console.error(`callboard: ${response.status} ${await response.text()}`);
      }
    } catch (error) {
      console.error(`callboard at ${CALLBOARD}: ${error.cause?.message ?? error.message}`);
    }
    await sleep(pause, undefined, { signal: leaving }).catch(() => {}); // woken when leaving
  }
}

/** Signs out: callboard sends nothing new, and answers when nothing is in flight. */
async function leave() {
  try {
    const response = await call("DELETE", `${url}?drain=10s`, undefined, 15_000);
    console.log("left:", await response.text());
  } catch (error) {
    console.error(`callboard at ${CALLBOARD}: ${error.message}; the lease will run out`);
  }
}

function call(method, url, body, timeout = 3000) {
  return fetch(url, {
    method,
    body: body && JSON.stringify(body),
    headers: body && { "Content-Type": "application/json" },
    signal: AbortSignal.timeout(timeout),
  });
}

/** Reads a duration as callboard writes it: 250ms, 4.7s. */
function milliseconds(text) {
  const [, number, unit] = /^([\d.]+)(ms|s)$/.exec(text);
  return Number(number) * (unit === "ms" ? 1 : 1000);
}

const server = createServer(hello);
// The proxy keeps idle connections for 60 s; closing them later than it does spares a retry.
server.keepAliveTimeout = 75_000;
server.listen(Number(PORT), "0.0.0.0", async () => {
  const leaving = new AbortController();
  const stop = () => leaving.abort();
  process.once("SIGTERM", stop).once("SIGINT", stop);
  await stay(server.address().port, leaving.signal); // listens first, then signs in
  await leave();
  server.close();
  server.closeAllConnections();
});
