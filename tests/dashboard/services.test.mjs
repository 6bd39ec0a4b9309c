// The list of services.

import assert from "node:assert/strict";
import { test } from "node:test";
import { backend, browser, callboard, eventually, example, instance, isLive, open, row, signIn } from "./support.mjs";

const chromium = await browser();

test("a service appears while the page is open, and its requests count", async (t) => {
  const board = await callboard(t);
  const page = await open(t, chromium, board);
  await isLive(page);
  await page.getByText("No service has signed in yet").waitFor();
  example(t, board, "hello-1");
  await row(page, "hello").getByText("1 ready").waitFor();

  await eventually("requests are counted", async () => {
    await fetch(`${board.proxy}/hello/world`).then((answer) => answer.text());
    const rate = await row(page, "hello").locator(".rate").textContent();
    return Number.parseFloat(rate) > 0;
  });
  await page.getByRole("link", { name: "hello", exact: true }).click();
  await page.getByRole("heading", { name: "hello", level: 1 }).waitFor();
  await row(page, "hello-1").getByText("ready", { exact: true }).waitFor();
  await page.goBack();
  await page.getByRole("heading", { name: "Services", level: 1 }).waitFor();
});

test("what is no view is nothing, whatever it is called", async (t) => {
  const board = await callboard(t);
  const page = await open(t, chromium, board);
  for (const name of ["__proto__", "constructor", "toString", "nothing"]) {
    await page.getByRole("heading", { name: "Services", level: 1 }).waitFor();
    await page.evaluate((name) => (location.hash = `#/${name}`), name);
    await page.getByRole("heading", { name: "There is nothing here", level: 1 }).waitFor();
    await page.evaluate(() => (location.hash = "#/services?sort=__proto__"));
  }
});

test("services are searched and sorted, and the address says how", async (t) => {
  const board = await callboard(t);
  const port = await backend(t);
  for (const service of ["orders", "payments", "web"]) await signIn(board, service, `${service}-1`, port);
  await signIn(board, "payments", "payments-2", port);
  await board.call("PUT", "/services/payments/instances/payments-2/drain");
  const page = await open(t, chromium, board);
  const names = () => page.locator(".services .rows .service").allTextContents();
  await eventually("all are there", async () => (await names()).length === 3);

  await page.keyboard.press("/");
  await page.keyboard.type("ER");
  await eventually("one is left", async () => (await names()).join() === "orders");
  assert.match(page.url(), /q=ER/);
  await page.reload();
  await eventually("it is searched again", async () => (await names()).join() === "orders");
  await page.getByRole("searchbox").fill("");

  await page.getByRole("button", { name: "Availability" }).click();
  await eventually("the worst is first", async () => (await names())[0] === "payments");
  assert.equal(await page.locator('[aria-sort="descending"]').count(), 1);
  await page.getByLabel("Which services").selectOption("trouble");
  await eventually("the others are left out", async () => (await names()).join() === "payments");
});

test("what registrants write is shown as text", async (t) => {
  const board = await callboard(t);
  const port = await backend(t);
  const evil = '<img src=x onerror="document.title=1"><script>alert(1)</script>';
  await signIn(board, "web", "web-1", port, { zone: evil.slice(0, 60), tags: [evil.slice(0, 60)] });
  const page = await open(t, chromium, board, "#/services/web");
  await row(page, "web-1").waitFor();
  assert.equal(await page.locator("main img, main script").count(), 0);
  assert.match(await row(page, "web-1").textContent(), /<img src=x onerror/);
});

test("a thousand services of ten instances are there at once, and scroll", async (t) => {
  const board = await callboard(t, "defaults: {check: off}");
  const port = await backend(t);
  const all = Array.from({ length: 10_000 }, (_, at) => ({ service: `service-${String(Math.floor(at / 10)).padStart(4, "0")}`, id: `i-${at}`, address: "127.0.0.1", port, lease: null }));
  for (let at = 0; at < all.length; at += 500) await board.call("POST", "/instances:batch", { instances: all.slice(at, at + 500) });
  const page = await open(t, chromium, board);
  // The best of a few loads: what else the machine does is not the point.
  const paints = [];
  while (paints.length < 3 && !paints.some((painted) => painted < 1_000)) {
    if (paints.length) await page.reload();
    await page.getByText("service-0000").waitFor();
    paints.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
  }
  t.diagnostic(`first contentful paint after ${paints.map(Math.round).join(", ")} ms`);
  assert.ok(Math.min(...paints) < 1_000, `the first paint took ${paints} ms`);

  assert.equal(await page.getByRole("table", { name: "Services" }).getAttribute("aria-rowcount"), "1001");
  assert.ok((await page.locator(".services .rows .row").count()) < 100, "only rows in sight are in the page");
  await page.keyboard.press("End");
  await page.getByText("service-0999").waitFor();
  await page.keyboard.press("Home");
  await page.getByText("service-0000").waitFor();

  // Half of the fleet changes from tick to tick: what the page does of it is done in short pieces.
  await page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
    }).observe({ type: "longtask" });
  });
  for (let at = 0; at < 500; at += 1) {
    if (at % 50 === 0) await Promise.all(Array.from({ length: 50 }, (_, next) => board.call("PUT", `/services/service-${String(at + next).padStart(4, "0")}/instances/i-${10 * (at + next)}/drain`)));
  }
  await row(page, "service-0000").getByText("1 draining").waitFor();
  await page.getByRole("searchbox").fill("0998");
  await row(page, "service-0998").waitFor();
  await eventually("one is left", async () => (await page.locator(".services .rows .row").count()) === 1);
  const longest = await page.evaluate(() => window.longest);
  t.diagnostic(`the longest task took ${Math.round(longest)} ms`);
  assert.ok(longest < 2_000, `the page stood still for ${longest} ms`);
  assert.equal((await instance(board, "service-0000", "i-0")).draining, true);
});
