// A recovery is cut at every packet boundary, on both transports: what the client's handlers see is 1, 2, 3 … all the same. The reference
// replays before it answers CONNECT, and its client then sees events twice: that control must fail.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connectClient } from "../testbed/clients.mjs";
import { PacketProxy } from "../testbed/proxy.mjs";
import { Server } from "../testbed/server.mjs";
import { until } from "../testbed/wait.mjs";

/** Events before the first loss, between it and the cut recovery, between that and a whole one, and behind that. */
const PARTS = [3, 3, 2, 1];
const ALL = Array.from({ length: PARTS.reduce((sum, part) => sum + part) }, (_, i) => i + 1);

/** What the client of one recovery saw, and whether that was cut. */
async function recover(server, transport, boundary) {
  const proxy = await PacketProxy.start(server.port);
  const writer = connectClient(server.url, { transports: ["websocket"] });
  // A WebSocket that closes before the handshake is noticed by the client's timeout only.
  const hasty = { reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 10, timeout: 300 };
  const reader = connectClient(proxy.url, { transports: [transport], ...hasty });
  const seen = [];
  reader.on("announce", (number) => seen.push(number));
  let written = 0;
  const write = async (count) => {
    for (let i = 0; i < count; i++) writer.emit("announce", ++written);
    await writer.timeout(10_000).emitWithAck("message-with-ack");
  };
  try {
    await until("both are connected", () => reader.connected && writer.connected);
    await write(PARTS[0]);
    await until("the reader sees the first events", () => seen.length === PARTS[0]);
    proxy.open(false);
    await until("the reader notices its loss", () => (proxy.cut(), !reader.connected));
    await write(PARTS[1]);
    // The recovery, which does not come further than `boundary`.
    proxy.allow(boundary);
    await until("the recovery is cut, or complete", () => proxy.didCut || reader.connected);
    // An answer comes behind all that was missed, unless that is cut too.
    if (!proxy.didCut) await reader.timeout(5_000).emitWithAck("message-with-ack").catch(() => {});
    const cut = proxy.didCut;
    proxy.open(false);
    await until("the reader notices its loss", () => (proxy.cut(), !reader.connected));
    await write(PARTS[2]);
    proxy.allow(Infinity);
    await until("the reader is back", () => reader.connected);
    await write(PARTS[3]);
    await until("the reader sees the last event", () => seen.includes(written));
    await reader.timeout(10_000).emitWithAck("message-with-ack");
    return { seen, cut, recovered: reader.recovered };
  } finally {
    reader.close();
    writer.close();
    proxy.stop();
  }
}

/** What the clients saw of recoveries that were cut behind 0, 1, 2 … packets, up to one that was complete. */
async function recoverAtEveryBoundary(target, transport) {
  const server = await Server.start(target, { recovery: 120_000 });
  try {
    const outcomes = [];
    for (let boundary = 0; ; boundary++) {
      const outcome = await recover(server, transport, boundary);
      outcomes.push(outcome);
      if (!outcome.cut) break;
    }
    server.assertAlive();
    return outcomes;
  } finally {
    await server.stop();
  }
}

for (const transport of ["polling", "websocket"]) {
  describe(`recovery over ${transport}`, { concurrency: true }, () => {
    test("the handlers see every event once and in order, wherever it is cut", async (t) => {
      const outcomes = await recoverAtEveryBoundary("fanfare", transport);
      // The open packet, CONNECT and the missed events at least.
      assert.ok(outcomes.length > 2 + PARTS[1], `${outcomes.length} boundaries`);
      for (const [boundary, { seen, recovered }] of outcomes.entries()) {
        assert.deepEqual(seen, ALL, `cut behind packet ${boundary}`);
        assert.equal(recovered, true);
      }
      t.diagnostic(`cut behind each of ${outcomes.length - 1} packets`);
    });

    test("control: events are seen twice on the reference", async (t) => {
      const outcomes = await recoverAtEveryBoundary("reference", transport);
      const wrong = outcomes.map(({ seen }) => seen).filter((seen) => !ALL.every((number, i) => seen[i] === number));
      assert.ok(wrong.length > 0, "the reference passes: this test proves nothing");
      t.diagnostic(`for example ${wrong[0].join(",")}`);
    });
  });
}
