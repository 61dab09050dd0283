// What only a browser does: JSONP, where answers are scripts and messages are forms, and polls whose answers are bytes.
// `TARGET=reference` is the control.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launchBrowser } from "../testbed/browser.mjs";
import { Server } from "../testbed/server.mjs";
import { until } from "../testbed/wait.mjs";

const target = process.env.TARGET ?? "fanfare";
/** A page of this origin may not read answers of the server: only scripts and forms get there. */
const ELSEWHERE = "http://elsewhere.example";

let browser, server;
before(async () => {
  browser = await launchBrowser();
  server = await Server.start(target, { "allow-eio3": true, jsonp: true });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const page = (url, options) => `<!doctype html>
<title>client</title>
<script src="/client.js"></script>
<script>
  var log = [];
  var socket = io('${url}', ${JSON.stringify(options)});
  ['connect', 'disconnect', 'error', 'connect_error'].forEach(function (event) {
    socket.on(event, function (reason) { log.push([event, String(reason)]); });
  });
  socket.on('message-back', function () { log.push(['message-back'].concat([].slice.call(arguments))); });
  function hex(buffer) { return [].map.call(new Uint8Array(buffer), function (byte) { return byte.toString(16).padStart(2, '0'); }).join(''); }
</script>`;

/** A tab on a page of that origin with the client of that package. */
async function open(origin, client, options) {
  const tab = await browser.newPage();
  const requests = [];
  const types = [];
  tab.on("response", (answer) => types.push(answer.headers()["content-type"]));
  tab.on("request", (request) => request.url().includes("/socket.io/?") && requests.push(request));
  await tab.route(`${origin}/`, (route) => route.fulfill({ contentType: "text/html", body: page(server.url, options) }));
  const script = readFileSync(fileURLToPath(new URL(`../node_modules/${client}/dist/socket.io.js`, import.meta.url)));
  await tab.route(`${origin}/client.js`, (route) => route.fulfill({ contentType: "text/javascript", body: script }));
  // A poll by JSONP is a script that has not come yet: the page never finishes loading.
  await tab.goto(`${origin}/`, { waitUntil: "commit" });
  const log = () => tab.evaluate("log");
  await until("the page is connected", async () => (await log()).some(([event]) => event === "connect")).catch(async (error) => {
    throw new Error(`${error.message}: ${JSON.stringify(await log())}`);
  });
  const heard = (count) => until(`${count} messages come back`, async () => (await log()).filter(([event]) => event === "message-back").length === count);
  return { tab, log, heard, requests, types };
}

/** What JSONP has to escape: line ends, also those that JSON takes and older JavaScript does not, quotes, and text that looks escaped. */
const TEXTS = ["hello", "two\nlines", "a\\nb", "a\\\\nb\\", "\u2028 and \u2029", 'quotes " and \'', "wörter 😀 ключ", "a=b&c=%20+d", "</script>"];

for (const [client, revision] of [["sio2", 3], ["sio3", 4]]) {
  test(`JSONP with the client of Engine.IO ${revision}`, async () => {
    const { tab, log, heard, requests } = await open(ELSEWHERE, client, { transports: ["polling"], forceJSONP: true });
    for (const text of TEXTS) await tab.evaluate((text) => void window.socket.emit("message", text, { nested: [text] }), text);
    await heard(TEXTS.length);
    const messages = (await log()).filter(([event]) => event === "message-back");
    assert.deepEqual(messages, TEXTS.map((text) => ["message-back", text, { nested: [text] }]));
    const answer = await tab.evaluate(() => new Promise((resolve) => window.socket.emit("message-with-ack", 1, "two", (...args) => resolve(args))));
    assert.deepEqual(answer, [1, "two"]);
    // Bytes are base64 there.
    const bytes = await tab.evaluate(
      () => new Promise((resolve) => window.socket.emit("message-with-ack", new Uint8Array([0, 1, 30, 255]).buffer, (back) => resolve(window.hex(back)))),
    );
    assert.equal(bytes, "00011eff");
    assert.ok(requests.length > 4 && requests.every((request) => /[?&]j=\d/.test(request.url())), "everything went by JSONP");
    assert.deepEqual(new Set(requests.map((request) => request.resourceType())), new Set(["script", "document"]));
    await tab.evaluate(() => void window.socket.disconnect());
    await until("the page is disconnected", async () => (await log()).some(([event]) => event === "disconnect"));
    assert.deepEqual((await log()).filter(([event]) => event.includes("error")), []);
    await tab.close();
  });
}

for (const client of ["sio1", "sio2"]) {
  test(`bytes in the answers to polls with ${client === "sio1" ? "1.7.4" : "2.5.0"}`, async () => {
    const { tab, log, types } = await open(server.url, client, { transports: ["polling"] });
    const bytes = await tab.evaluate(async () => {
      const echo = (...args) => new Promise((resolve) => window.socket.emit("message-with-ack", ...args, (...back) => resolve(back)));
      const every = Uint8Array.from({ length: 256 }, (_, i) => i);
      const [[one], [text, { deep }]] = await Promise.all([echo(every.buffer), echo("beside", { deep: [every.buffer] })]);
      return [window.hex(one), text, window.hex(deep[0])];
    });
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString("hex");
    assert.deepEqual(bytes, [every, "beside", every]);
    assert.ok(types.includes("application/octet-stream"), `an answer was bytes: ${types}`);
    assert.deepEqual((await log()).filter(([event]) => event.includes("error")), []);
    await tab.close();
  });
}
