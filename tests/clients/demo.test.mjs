// `fanfare demo` as a visitor meets it: one page, three panes, three nodes, over each adapter.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { nats, redis } from "./testbed/backends.mjs";
import { launchBrowser } from "./testbed/browser.mjs";
import { Child } from "./testbed/child.mjs";
import { binary } from "./testbed/cluster.mjs";
import { until } from "./testbed/wait.mjs";

let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser?.close());

/** The demo, and a tab on its first node in which all three panes are connected over WebSocket. */
async function visit(flags) {
  const demo = new Child(binary(), ["demo", "--port", "0", ...flags]);
  const [, url] = await demo.line(/node 1\s+(http:\S+)/);
  const tab = await browser.newPage();
  const problems = [];
  tab.on("pageerror", (error) => problems.push(error.message));
  await tab.goto(url);
  const panes = tab.locator(".pane");
  await until("three panes are on WebSocket", async () => (await tab.locator(".transport.websocket").count()) === 3);
  const leave = async () => {
    await tab.close();
    await demo.stop();
    assert.deepEqual(problems, []);
  };
  return { panes, leave };
}

/** Types `text` into the pane with that index and sends it the way `reach` says: everyone, others or room. */
async function say(panes, index, reach, text) {
  const pane = panes.nth(index);
  await pane.locator(`.reach label:has(input[value=${reach}])`).click();
  await pane.locator(".text").fill(text);
  await pane.locator("form .primary").click();
}

/** Which panes show `text` as received, and what it says of node, transport and latency. */
async function received(panes, text) {
  const shown = [];
  for (let index = 0; index < 3; index++) {
    const entry = panes.nth(index).locator(".entry:not(.silent)", { hasText: text });
    if (await entry.count()) shown.push([index, await entry.first().locator(".meta").innerText()]);
  }
  return shown;
}

/** Sends to everybody last: what one pane sent before has then arrived wherever it goes. */
async function settle(panes, index, text) {
  await say(panes, index, "everyone", text);
  await until(`all panes show "${text}"`, async () => (await received(panes, text)).length === 3);
}

for (const [name, start, flags] of [
  ["memory", null, () => []],
  ["redis", redis, (backend) => ["--adapter", "redis", "--redis-url", backend.environment.FANFARE_ADAPTER__REDIS__URL]],
  ["nats", nats, (backend) => ["--adapter", "nats", "--nats-url", backend.environment.FANFARE_ADAPTER__NATS__URL]],
]) {
  test(`a visitor of the demo over ${name} sees who is reached`, async () => {
    const backend = await start?.();
    const { panes, leave } = await visit(flags(backend));

    await until("what pane 1 says reaches every pane", async () => {
      await say(panes, 0, "everyone", "are all three here?");
      return (await received(panes, "are all three here?")).length === 3;
    }, { every: 500 });

    await say(panes, 1, "others", "all but me");
    await settle(panes, 1, "everyone has heard pane 2");
    const others = await received(panes, "all but me");
    assert.deepEqual(others.map(([index]) => index), [0, 2]);
    for (const [, meta] of others) assert.match(meta, /Node 2\s[\s\S]*websocket · [\d.]+ ms/);

    const joins = panes.nth(2).locator(".rooms button", { hasText: "brass" });
    await joins.click();
    await until("pane 3 is in the room", async () => (await joins.getAttribute("aria-pressed")) === "true");
    await say(panes, 0, "room", "to the room");
    await settle(panes, 0, "everyone has heard pane 1");
    assert.deepEqual((await received(panes, "to the room")).map(([index]) => index), [2]);

    await leave();
    await backend?.stop();
  });
}
