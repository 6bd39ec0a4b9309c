// What is done by click.

import assert from "node:assert/strict";
import { test } from "node:test";
import { backend, browser, callboard, eventually, example, instance, isLive, open, row, signIn } from "./support.mjs";

const chromium = await browser();

test("an instance is drained and undrained, and the last one only after a question", async (t) => {
  const board = await callboard(t);
  for (const id of ["hello-1", "hello-2"]) example(t, board, id);
  const page = await open(t, chromium, board, "#/services/hello");
  for (const id of ["hello-1", "hello-2"]) await row(page, id).getByText("ready", { exact: true }).waitFor();

  await page.getByRole("button", { name: "Drain hello-1" }).click();
  await row(page, "hello-1").getByText("draining", { exact: true }).waitFor();
  await page.locator(".toast").getByText("hello-1 is draining").waitFor();
  assert.equal((await instance(board, "hello", "hello-1")).availability, "draining");

  await page.getByRole("button", { name: "Drain hello-2" }).click();
  const question = page.getByRole("dialog", { name: "Drain hello-2?" });
  await question.getByText("No other instance of hello takes traffic").waitFor();
  await question.getByRole("button", { name: "Cancel" }).click();
  await question.waitFor({ state: "detached" });
  assert.equal((await instance(board, "hello", "hello-2")).draining, false);

  await page.getByRole("button", { name: "Undrain hello-1" }).click();
  await row(page, "hello-1").getByText("ready", { exact: true }).waitFor();
  assert.equal((await instance(board, "hello", "hello-1")).draining, false);
});

test("a weight is changed, and a wrong one is not", async (t) => {
  const board = await callboard(t);
  await signIn(board, "web", "web-1", await backend(t), { weight: 10 });
  const page = await open(t, chromium, board, "#/services/web");
  await page.getByRole("button", { name: "Weight of web-1: 10" }).click();
  const dialog = page.getByRole("dialog", { name: "Weight of web-1" });
  await dialog.getByLabel("Weight").fill("70000");
  await dialog.getByRole("button", { name: "Set it" }).click();
  await dialog.getByText("70000 is not a whole number from 0 to 65535").waitFor();
  await dialog.getByLabel("Weight").fill("0");
  await dialog.getByText("No other instance of web takes traffic").waitFor();
  await dialog.getByLabel("Weight").fill("25");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Weight of web-1: 25" }).waitFor();
  assert.equal((await instance(board, "web", "web-1")).weight, 25);
});

test("a split is shifted and given back to the configuration", async (t) => {
  const board = await callboard(t, "routes: [{name: shop, match: {path: /shop}, split: [{service: old, weight: 95}, {service: new, weight: 5}]}]");
  const page = await open(t, chromium, board, "#/routes", { failing: true });
  await page.getByText("95%").waitFor();
  await page.getByRole("button", { name: "Shift the split of shop" }).click();
  const dialog = page.getByRole("dialog", { name: "Split of shop" });
  await dialog.getByLabel("old").fill("0");
  await dialog.getByLabel("new").fill("0");
  await dialog.getByRole("button", { name: "Shift traffic" }).click();
  await dialog.getByRole("alert").getByText("split").waitFor();
  await dialog.getByLabel("old").fill("50");
  await dialog.getByLabel("new").fill("50");
  await dialog.getByRole("button", { name: "Shift traffic" }).click();
  await page.getByText("split set by hand").waitFor();
  const { split } = await board.call("GET", "/routes/shop/split");
  assert.deepEqual(split.map((side) => side.weight), [50, 50]);
  await page.getByRole("button", { name: "Reset the split of shop" }).click();
  await page.getByRole("button", { name: "Reset it" }).click();
  await page.getByText("95%").waitFor();
});

test("a token is asked for, kept in this tab only, and one that may only read says so", async (t) => {
  const admin = "an-admin-token-of-the-tests";
  const reader = "a-reader-token-of-the-tests";
  process.env.DASHBOARD_ADMIN = admin;
  process.env.DASHBOARD_READER = reader;
  process.env.DASHBOARD_OTHER = "another-admin-token-of-the-tests";
  const auth = '  auth: {tokens: [{name: ops, env: DASHBOARD_ADMIN, scopes: [admin]}, {name: looker, env: DASHBOARD_READER, scopes: [read]}]}';
  const board = await callboard(t, "", { auth, token: admin });
  await signIn(board, "web", "web-1", await backend(t));
  const page = await open(t, chromium, board, "#/services/web", { failing: true });
  const dialog = page.getByRole("dialog", { name: "Show a token" });
  await dialog.getByLabel("Token").fill("no token of anybody's");
  await dialog.getByRole("button", { name: "Use it" }).click();
  await dialog.getByText("no spaces").waitFor();
  await dialog.getByLabel("Token").fill(reader);
  await dialog.getByRole("button", { name: "Use it" }).click();
  await isLive(page);
  await row(page, "web-1").waitFor();

  await page.getByRole("button", { name: "Weight of web-1" }).click();
  await page.getByRole("dialog").getByLabel("Weight").fill("7");
  await page.keyboard.press("Enter");
  const refused = page.locator(".toast.bad");
  await refused.waitFor();
  assert.match(await refused.textContent(), /scope/);
  await page.getByRole("button", { name: "Token: read only" }).waitFor();
  assert.equal((await instance(board, "web", "web-1")).weight, 1);

  await refused.getByRole("button", { name: "Other token" }).click();
  await dialog.getByLabel("Token").fill(admin);
  await page.keyboard.press("Enter");
  await row(page, "web-1").waitFor();
  await page.getByRole("button", { name: "Weight of web-1" }).click();
  await page.getByRole("dialog").getByLabel("Weight").fill("7");
  await page.keyboard.press("Enter");
  await eventually("the weight is 7", async () => (await instance(board, "web", "web-1")).weight === 7);

  await board.reload(auth.replace("DASHBOARD_ADMIN", "DASHBOARD_OTHER"));
  await dialog.waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await board.reload(auth);
  await eventually("the token is good again", () => board.call("GET", "/services").catch(() => null));
  await page.reload();
  await row(page, "web-1").waitFor();

  assert.equal(await page.evaluate(() => sessionStorage.getItem("callboard-token")), admin);
  const elsewhere = await page.evaluate(() => JSON.stringify({ ...localStorage }) + document.cookie + location.href);
  assert.ok(!elsewhere.includes(admin), elsewhere);
});
