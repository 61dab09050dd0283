// The page that every Socket.IO user knows, in a real browser: the script tag, `io.connect(url)`, the server's `news`, the client's
// `my other event`, the default events `connect`, `message` and `disconnect`, `socket.send()`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { redis } from "./testbed/backends.mjs";
import { launchBrowser } from "./testbed/browser.mjs";
import { freePort } from "./testbed/child.mjs";
import { record } from "./testbed/clients.mjs";
import { Cluster } from "./testbed/cluster.mjs";
import { until } from "./testbed/wait.mjs";

/** The page; `script` and `url` are what its author writes for where the script is and whom to connect to. */
const page = (script, url) => `<!doctype html>
<title>seed</title>
<script src="${script}"></script>
<script>
  var log = [];
  var socket = io.connect('${url}');
  socket.on('connect', function () { log.push(['connect']); });
  socket.on('connect_error', function () { log.push(['connect_error']); });
  socket.on('news', function (data) {
    log.push(['news', data]);
    socket.emit('my other event', { my: 'data' });
  });
  socket.on('message', function (text) { log.push(['message', text]); });
  socket.on('disconnect', function (reason) { log.push(['disconnect', reason]); });
</script>`;

let site, origin, backend, cluster, browser;

before(async () => {
  // A site of its own, for the page that is not at home on a node.
  const port = await freePort();
  origin = `http://127.0.0.1:${port}`;
  site = createServer((_, answer) => answer.setHeader("content-type", "text/html").end(page(`${cluster.nodes[0].url}/socket.io/socket.io.js`, cluster.nodes[0].url)));
  await new Promise((resolve) => site.listen(port, resolve));
  backend = await redis();
  cluster = await Cluster.start({ backend, nodes: 2, environment: { FANFARE_CORS__ORIGINS: origin, FANFARE_ORIGINS__ALLOW: "any" } });
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await cluster?.stop();
  await backend?.stop();
  site?.close();
});

/** Opens a tab at `url`; with `content`, that is what stands there. */
async function open(url, content) {
  const tab = await browser.newPage();
  if (content) await tab.route(`${url}/`, (route) => route.fulfill({ contentType: "text/html", body: content }));
  await tab.goto(`${url}/`);
  const log = () => tab.evaluate("log");
  const logged = (entry) => until(() => `the page logs ${JSON.stringify(entry)}`, async () => (await log()).some((e) => JSON.stringify(e) === JSON.stringify(entry)));
  return { tab, log, logged };
}

test("the page's script, connection and events work as every Socket.IO user knows them", async () => {
  const friend = await cluster.connect(1);
  const answers = record(friend, "my other event");
  const messages = record(friend, "message");
  const { tab, log, logged } = await open(cluster.nodes[0].url, page("/socket.io/socket.io.js", cluster.nodes[0].url));

  await logged(["news", { hello: "world" }]);
  assert.deepEqual(await log(), [["connect"], ["news", { hello: "world" }]]);
  await until("the other node's client hears the page's answer", () => answers.length);
  assert.deepEqual(answers, [[{ my: "data" }]]);

  await tab.evaluate("socket.send('hello from the page')");
  await until("the other node's client hears the page's message", () => messages.length);
  assert.deepEqual(messages, [["hello from the page"]]);
  friend.send("hello to the page");
  await logged(["message", "hello to the page"]);
  await until("the page's connection is upgraded", async () => (await tab.evaluate("socket.io.engine.transport.name")) === "websocket");

  await tab.evaluate("void socket.disconnect()");
  await logged(["disconnect", "io client disconnect"]);
  await tab.evaluate("void socket.connect()");
  await until("the page hears the news again", async () => (await log()).filter(([event]) => event === "news").length === 2);
  await tab.close();
});

test("a node serves the client that npm publishes, byte for byte", async () => {
  for (const build of ["socket.io", "socket.io.min", "socket.io.esm.min", "socket.io.msgpack.min"]) {
    for (const [file, type] of [[`${build}.js`, "application/javascript"], [`${build}.js.map`, "application/json"]]) {
      const answer = await fetch(`${cluster.nodes[0].url}/socket.io/${file}`);
      assert.equal(answer.status, 200, `${file}: ${answer.status}`);
      assert.match(answer.headers.get("content-type"), new RegExp(`^${type}`));
      const published = readFileSync(new URL(`node_modules/socket.io-client/dist/${file}`, import.meta.url));
      assert.ok(published.equals(Buffer.from(await answer.arrayBuffer())), `${file} differs`);
    }
  }
});

test("a page of a configured origin may connect, one of another origin may not", async () => {
  const { tab, logged } = await open(origin);
  await logged(["news", { hello: "world" }]);
  await tab.close();
  const other = await open(origin.replace("127.0.0.1", "localhost"));
  await other.logged(["connect_error"]);
  assert.ok((await other.log()).every(([event]) => event === "connect_error"));
  await other.tab.close();
});

test("a node that is told to stop says goodbye to the page", async () => {
  const { tab, logged } = await open(cluster.nodes[0].url, page("/socket.io/socket.io.js", cluster.nodes[0].url));
  await logged(["news", { hello: "world" }]);
  await cluster.nodes[0].stop();
  await logged(["disconnect", "transport close"]);
  await tab.close();
});
