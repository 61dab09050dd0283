// The official protocol suites, unmodified, against the example server:
//
//   cargo build --example client-server
//   SOCKETIO_REPOSITORY=<a copy of https://github.com/socketio/socket.io> npm run suites --prefix tests/clients [v4|v3|v5 ...]
//
// The suites are not part of this repository; `tests/run` runs them where the variable is set. They are installed in a directory of
// their own, from their lock files. Each expects its server on port 3000: it must be free. `TARGET=reference` runs them against the
// reference instead. Exits with 0 if every test of every suite passed.
//
// The suite of Engine.IO 3 begins to listen for messages only when it has seen that a WebSocket is open, and so loses one that is read
// together with the answer to the handshake: against either server, the more often the busier the machine is. A proxy before the server
// of that suite keeps the two apart.

import { cpSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { Child, scratch } from "./testbed/child.mjs";
import { Proxy } from "./testbed/proxy.mjs";
import { Server } from "./testbed/server.mjs";

/** What the suites hardcode. */
const PORT = 3000;
const TIMING = { "ping-interval": 300, "ping-timeout": 200 };

/** Each suite: where it stands, how many tests it has, the server that it asks for, and whether a proxy is to stand before it. */
const suites = {
  v4: { name: "Engine.IO 4", path: "docs/engine.io-protocol/v4-test-suite", tests: 25, flags: { bare: true, path: "/engine.io" } },
  v3: { name: "Engine.IO 3", path: "docs/engine.io-protocol/v3-test-suite", tests: 23, apart: true, flags: { bare: true, path: "/engine.io", "allow-eio3": true } },
  v5: { name: "Socket.IO 5", path: "docs/socket.io-protocol/v5-test-suite", tests: 32, flags: {} },
};

/** Lets what follows the head of a WebSocket's handshake come a little after it. */
class Apart extends Proxy {
  downstream(near) {
    let before;
    return (data) => {
      const end = data.indexOf("\r\n\r\n") + 4;
      if (!before && data.toString("latin1").startsWith("HTTP/1.1 101 ") && end >= 4) {
        near.write(data.subarray(0, end));
        data = data.subarray(end);
        before = new Promise((resolve) => setTimeout(resolve, 20));
      }
      if (before) before.then(() => near.write(data));
      else near.write(data);
    };
  }
}

const repository = process.env.SOCKETIO_REPOSITORY;
const target = process.env.TARGET ?? "fanfare";
const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(suites);
const unknown = chosen.filter((key) => !Object.hasOwn(suites, key));

if (!repository) fail("SOCKETIO_REPOSITORY is not set: the path of a copy of https://github.com/socketio/socket.io");
if (unknown.length) fail(`no suite ${unknown.join(", ")}: expected some of ${Object.keys(suites).join(", ")}`);

let complete = true;
for (const { name, path, tests, flags, apart } of chosen.map((key) => suites[key])) {
  const suite = scratch();
  cpSync(join(repository, path), suite, { recursive: true, filter: (from) => !from.endsWith("node_modules") });
  await succeed("npm", ["ci", "--prefix", suite, "--no-audit", "--no-fund"]);
  await portIsFree().catch((error) => fail(`port ${PORT}, which the suites expect their server on, cannot be used: ${error.message}`));
  const server = await Server.start(target, { ...TIMING, ...flags, port: apart ? 0 : PORT });
  const proxy = apart && (await Apart.start(server.port, { listen: PORT }));
  const { end, passed } = await run(suite);
  if (proxy) proxy.stop();
  server.assertAlive();
  await server.stop();
  const verdict = end.code === 0 && passed === tests ? "passed" : "FAILED";
  complete &&= verdict === "passed";
  console.log(`${name}: ${passed} of ${tests} against ${target}: ${verdict}`);
}
process.exitCode = complete ? 0 : 1;

/** Runs the suite's own `npm test`, which is not to wait for connections that stay, and reads how many of its tests passed. */
async function run(suite) {
  const mocha = new Child("npm", ["test", "--prefix", suite, "--", "--exit"]);
  const end = await mocha.exited;
  const report = mocha.report(`ended with ${JSON.stringify(end)}`);
  if (end.code !== 0) console.log(report);
  return { end, passed: Number(/(\d+) passing/.exec(report)?.[1] ?? 0) };
}

async function succeed(command, args) {
  const child = new Child(command, args);
  const end = await child.exited;
  if (end.code !== 0) fail(child.report(`${args.join(" ")} failed`));
}

function portIsFree() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(PORT, "127.0.0.1", () => probe.close(resolve));
  });
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
