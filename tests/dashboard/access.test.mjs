// For everybody: readers of the screen, keyboards, phones, either colours.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { backend, browser, callboard, eventually, isLive, open, row, signIn } from "./support.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const chromium = await browser();

/** A callboard in which there is something to see in each view; gives the views. */
async function furnished(t) {
  const board = await callboard(t, "routes: [{name: shop, match: {path: /shop, host: shop.example.com}, split: [{service: web, weight: 95}, {service: next, weight: 5}], split_on: 'cookie:user'}]");
  const port = await backend(t);
  const long = "a-service-with-a-name-that-is-as-long-as-people-make-them-when-nobody-stops-them".padEnd(128, "x");
  for (const id of ["web-1", "web-2", "web-3"]) await signIn(board, "web", id, port, { zone: "eu-1a", tags: ["blue", "v2"] });
  await signIn(board, "web", "web-4", 9).catch(() => {});
  await signIn(board, long, "i".repeat(128), port, { tags: ["t".repeat(100)] });
  await board.call("PUT", "/services/web/instances/web-2/drain");
  const answer = await fetch(`${board.proxy}/web/${"far/".repeat(40)}`, { headers: { "X-Callboard-Explain": "1" } });
  const id = answer.headers.get("x-request-id");
  return { board, views: ["services", "services/web", `services/${long}`, "journal", "routes", "explain", `explain/${id}`, "nothing"] };
}

async function settled(page, view) {
  await isLive(page);
  if (view.startsWith("explain/")) await page.getByText("It was answered with").waitFor();
  else if (view !== "nothing" && view !== "routes") await page.locator(".rows .row").first().waitFor();
  else if (view === "routes") await page.getByText("95%").waitFor();
}

for (const colorScheme of ["light", "dark"]) {
  test(`axe finds no serious fault in ${colorScheme} colours`, async (t) => {
    const { board, views } = await furnished(t);
    for (const view of views) {
      const page = await open(t, chromium, board, `#/${view}`, { colorScheme });
      await settled(page, view);
      const check = async (what) => {
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
        const faults = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
        assert.deepEqual(faults.map((fault) => `${fault.id}: ${fault.help}: ${fault.nodes.map((node) => `${node.target} ${node.failureSummary}`).join(" | ")}`), [], `${view} ${what}`);
      };
      await check("");
      if (view === "services/web") {
        await page.getByRole("button", { name: "Weight of web-1" }).click();
        await check("with a dialog");
        await page.keyboard.press("Escape");
        await page.keyboard.press("?");
        await page.getByRole("dialog", { name: "Help" }).waitFor();
        await check("with the help");
      }
      await page.close();
    }
  });
}

test("nothing is wider than a phone, nor than a window at 200%", async (t) => {
  const { board, views } = await furnished(t);
  for (const viewport of [{ width: 360, height: 740 }, { width: 640, height: 400 }]) {
    for (const view of views) {
      const page = await open(t, chromium, board, `#/${view}`, { viewport });
      await settled(page, view);
      const { width, wide } = await page.evaluate(() => ({
        width: document.documentElement.scrollWidth,
        wide: [...document.querySelectorAll("main *")].filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && !element.closest("svg, .head")).slice(0, 3).map((element) => element.outerHTML.slice(0, 120)),
      }));
      assert.equal(width, viewport.width, `${view}: ${wide}`);
      assert.deepEqual(wide, [], view);
      await page.close();
    }
  }
});

test("all of it is reached with keys alone", async (t) => {
  const { board } = await furnished(t);
  const page = await open(t, chromium, board);
  await isLive(page);
  await row(page, "web").waitFor();
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent.trim());
  const tabTo = (name) => eventually(`Tab leads to ${name}`, async () => {
    await page.keyboard.press("Tab");
    const visible = await page.evaluate(() => document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== "none");
    assert.ok(visible, `the focus on ${await focused()} is not to be seen`);
    return (await focused()).startsWith(name);
  });
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to the content");
  await tabTo("web");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "web", level: 1 }).waitFor();
  assert.equal(await focused(), "web", "the heading of the new view has the focus");
  await row(page, "web-3").waitFor();
  await tabTo("Drain web-3");
  await page.keyboard.press("Enter");
  await row(page, "web-3").getByText("draining", { exact: true }).waitFor();
  assert.equal(await focused(), "Undrain web-3", "an update does not take the focus");
  await tabTo("Weight of web-4");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.type("3");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Weight of web-4: 3" }).waitFor();

  for (const [key, heading] of [["j", "Journal"], ["r", "Routes"], ["e", "Explain"], ["s", "Services"]]) {
    await page.keyboard.press("g");
    await page.keyboard.press(key);
    await page.getByRole("heading", { name: heading, level: 1 }).waitFor();
  }
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Help" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
});

test("the colours that were chosen are kept", async (t) => {
  const { board } = await furnished(t);
  const page = await open(t, chromium, board, "", { colorScheme: "light" });
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.getByRole("button", { name: "Colours: auto" }).click();
  await page.getByRole("button", { name: "Colours: light" }).click();
  assert.notEqual(await background(), light);
  await page.reload();
  await page.getByRole("button", { name: "Colours: dark" }).waitFor();
  assert.notEqual(await background(), light);
});
