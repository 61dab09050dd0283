// python-socketio, sync and async: see `python/story.py`. `tests/run` makes the environment that `PYTHON` is in.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Child } from "../testbed/child.mjs";
import { Proxy } from "../testbed/proxy.mjs";
import { Server } from "../testbed/server.mjs";

const target = process.env.TARGET ?? "fanfare";
const python = process.env.FANFARE_PYTHON ?? fileURLToPath(new URL("../../../target/python/bin/python", import.meta.url));
const story = fileURLToPath(new URL("python/story.py", import.meta.url));

for (const [parser, serializer] of [[undefined, "default"], ["msgpack", "msgpack"]]) {
  describe(`python-socketio with the ${serializer} serializer`, { concurrency: true }, () => {
    let server;
    before(async () => (server = await Server.start(target, { parser })));
    after(() => server?.stop());

    for (const kind of ["sync", "async"]) {
      for (const way of ["polling", "websocket", "upgrade"]) {
        test(`${kind}, ${way}`, async () => {
          const proxy = await Proxy.start(server.port);
          const child = new Child(python, [story, kind, server.url, way, serializer, proxy.url]);
          child.onLine((line) => line === "cut" && proxy.cut());
          const end = await child.exited;
          proxy.stop();
          assert.equal(end.code, 0, child.report("failed"));
          server.assertAlive();
        });
      }
    }
  });
}
