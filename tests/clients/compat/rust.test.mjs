// rust_socketio: see `rust/`. `tests/run` builds the program that `FANFARE_RUST_STORY` names.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Child } from "../testbed/child.mjs";
import { Proxy } from "../testbed/proxy.mjs";
import { Server } from "../testbed/server.mjs";

const target = process.env.TARGET ?? "fanfare";
const built = new URL("../../../target/rust-story/debug/fanfare-client-story", import.meta.url);
const story = process.env.FANFARE_RUST_STORY ?? fileURLToPath(built);

describe("rust_socketio", { concurrency: true }, () => {
  let server;
  before(async () => (server = await Server.start(target)));
  after(() => server?.stop());

  for (const way of ["polling", "websocket", "upgrade"]) {
    test(way, async () => {
      const proxy = await Proxy.start(server.port);
      const child = new Child(story, [server.url, way, proxy.url]);
      child.onLine((line) => line === "cut" && proxy.cut());
      const end = await child.exited;
      proxy.stop();
      assert.equal(end.code, 0, child.report("failed"));
      server.assertAlive();
    });
  }
});
