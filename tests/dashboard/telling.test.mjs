// The journal, the explanations, and what is told when callboard is away.

import assert from "node:assert/strict";
import { test } from "node:test";
import { backend, browser, callboard, eventually, isLive, open, row, signIn } from "./support.mjs";

const chromium = await browser();

test("the journal shows a change as it happens, with who made it, and is filtered", async (t) => {
  const board = await callboard(t);
  const port = await backend(t);
  await signIn(board, "web", "web-1", port);
  await signIn(board, "orders", "orders-1", port);
  const page = await open(t, chromium, board, "#/journal");
  await row(page, "web-1").waitFor();
  await board.call("PATCH", "/services/web/instances/web-1", { weight: 9 });
  const patched = page.locator('[data-change="patched"]');
  await patched.getByText("weight 1 → 9").waitFor();
  assert.match(await patched.textContent(), /127\.0\.0\.1/);

  await page.getByLabel("Only of this service").fill("orders");
  await eventually("web is left out", async () => (await page.locator(".journal .rows .row").count()) === 1);
  assert.match(page.url(), /service=orders/);
  await page.reload();
  await row(page, "orders-1").waitFor();
  assert.equal(await row(page, "web-1").count(), 0);
});

test("a long journal is read page by page, and nothing is shown twice", async (t) => {
  const board = await callboard(t);
  const port = await backend(t);
  await signIn(board, "web", "web-1", port);
  for (let weight = 2; weight <= 150; weight += 1) await board.call("PATCH", "/services/web/instances/web-1", { weight });
  const page = await open(t, chromium, board, "#/journal?service=web");
  await page.getByText("100 changes and more").waitFor();
  await page.getByRole("button", { name: "Earlier changes" }).click();
  await page.getByText("150 changes", { exact: true }).waitFor();
  const whys = await page.locator('[data-change="patched"] .why').allTextContents();
  assert.equal(new Set(whys).size, 149);
});

test("a request that asked for it is explained", async (t) => {
  const board = await callboard(t);
  const port = await backend(t);
  for (const id of ["web-1", "web-2"]) await signIn(board, "web", id, port);
  await board.call("PUT", "/services/web/instances/web-2/drain");
  const page = await open(t, chromium, board, "#/explain", { failing: true });
  await page.getByText("X-Callboard-Explain").waitFor();
  const answer = await fetch(`${board.proxy}/web/some/where?x=%3Cb%3E`, { headers: { "X-Callboard-Explain": "1" } });
  const id = answer.headers.get("x-request-id");
  await page.getByRole("link", { name: "GET /web/some/where?x=*", exact: true }).click(); // values of the query may be secrets
  await page.getByRole("heading", { name: `Request ${id}` }).waitFor();
  await page.getByText("It was answered with 200").waitFor();
  const candidates = page.getByRole("table", { name: "Candidates of attempt 1" });
  await candidates.getByRole("row").filter({ hasText: "web-1" }).getByText("✓ chosen").waitFor();
  await candidates.getByRole("row").filter({ hasText: "web-2" }).locator(".verdict").getByText("draining").waitFor();

  await page.goBack();
  await page.getByLabel("Request id").fill(id);
  await page.keyboard.press("Enter");
  await page.getByText("It was answered with 200").waitFor();
  await page.goBack();
  await page.getByLabel("Request id").fill("nobody-asked/this");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: "nobody-asked/this" }).waitFor();
});

test("a request that nobody could take is explained by those who were passed over", async (t) => {
  const board = await callboard(t);
  await signIn(board, "web", "web-1", await backend(t));
  await board.call("PUT", "/services/web/instances/web-1/drain");
  const answer = await fetch(`${board.proxy}/web/`, { headers: { "X-Callboard-Explain": "1" } });
  assert.equal(answer.status, 503);
  const page = await open(t, chromium, board, `#/explain/${answer.headers.get("x-request-id")}`);
  await page.getByText("It was answered with 503").waitFor();
  const passedOver = page.getByRole("table", { name: "Candidates that were passed over" });
  await passedOver.getByRole("row").filter({ hasText: "web-1" }).locator(".verdict").getByText("draining").waitFor();
});

test("an order that is none, in the address, is passed over", async (t) => {
  const board = await callboard(t);
  await signIn(board, "web", "web-1", await backend(t));
  for (const view of ["services?sort=__proto__&only=constructor", "services/web?sort=__proto__"]) {
    const page = await open(t, chromium, board, `#/${view}`);
    await page.getByText(view.startsWith("services?") ? "1 service, 1 instance" : "1 ready", { exact: true }).waitFor();
    await page.locator(".rows .row").first().waitFor();
    await page.close();
  }
});

test("one process takes another's place, and the page goes on", async (t) => {
  const board = await callboard(t);
  const port = await backend(t);
  await signIn(board, "web", "web-1", port);
  const page = await open(t, chromium, board, "", { failing: true });
  await isLive(page);
  await board.upgrade();
  await signIn(board, "orders", "orders-1", port);
  await row(page, "orders").getByText("1 ready").waitFor();
  await isLive(page);
  assert.ok(await page.locator("#banner").isHidden());
});

test("when callboard goes, the page says since when, and goes on when it is back", async (t) => {
  const board = await callboard(t);
  const port = await backend(t);
  await signIn(board, "web", "web-1", port);
  const page = await open(t, chromium, board, "", { failing: true });
  await isLive(page);
  await row(page, "web").waitFor();
  await board.process.stop();
  await page.getByText(/^Disconnected since \d\d:\d\d:\d\d/).waitFor();
  await page.locator("body.stale").waitFor();
  assert.ok(await row(page, "web").isVisible(), "what was known is still shown");
  await board.start();
  await page.getByRole("button", { name: "Try now" }).click({ timeout: 2_000 }).catch(() => {}); // it was faster
  await isLive(page);
  await page.locator("body:not(.stale)").waitFor();
  assert.ok(await page.locator("#banner").isHidden());
  await row(page, "web").getByText("1 ready").waitFor();
});

test("a page that nobody sees asks for nothing", async (t) => {
  const board = await callboard(t);
  const page = await open(t, chromium, board, "", { failing: true });
  await isLive(page);
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await hide(true);
  await page.locator('#status[data-state="paused"]').waitFor();
  assert.ok(await page.locator("#banner").isHidden());
  await hide(false);
  await isLive(page);
});
