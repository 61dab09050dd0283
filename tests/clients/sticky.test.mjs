// Polling behind a balancer that knows nothing of sessions: every request of 500 stock clients goes to the next node, which hands it to the
// session's owner.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { redis } from "./testbed/backends.mjs";
import { record, tagOf } from "./testbed/clients.mjs";
import { Cluster } from "./testbed/cluster.mjs";
import { soon, until } from "./testbed/wait.mjs";

const CLIENTS = 500;
/** Clients that connect at the same time. */
const AT_ONCE = 25;
const EVENTS = 25;
/** A machine that is busy with other tests takes its time. */
const PATIENCE = 120_000;

/** A node is killed: its sessions end, and those of no other, though polls of theirs were on their way through it. */
async function oneNodeDies(cluster, clients, lost) {
  const { tag } = await (await fetch(new URL("/identity", cluster.nodes[1].internal))).json();
  const its = [...clients.keys()].filter((i) => tagOf(clients[i]) === tag);
  const others = [...clients.keys()].filter((i) => tagOf(clients[i]) !== tag);
  const heard = clients.map((socket) => record(socket, "announce"));
  await cluster.kill(1);
  await until("all clients of the node notice", () => its.every((i) => !clients[i].connected), { within: PATIENCE });
  for (let n = 0; n < EVENTS; n++) clients[others[0]].emit("announce", n);
  await until("the others have all events", () => others.every((i) => !clients[i].connected || heard[i].length === EVENTS), { within: PATIENCE });
  assert.deepEqual(lost.filter(([i]) => others.includes(i)), []);
  for (const i of others) assert.deepEqual(heard[i], Array.from({ length: EVENTS }, (_, n) => [n]));
}

describe("clients whose requests go to any node", () => {
  for (const [title, transports] of [
    ["polling", ["polling"]],
    ["polling with upgrade", ["polling", "websocket"]],
  ]) {
    test(`${CLIENTS} clients, ${title}: all connect, nothing is lost, repeated or swapped`, async () => {
      const backend = await redis();
      const cluster = await Cluster.start({ backend, balanced: "round robin", transports });
      try {
        const clients = [];
        while (clients.length < CLIENTS) {
          clients.push(...(await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => cluster.connect(i)))));
        }
        const heard = clients.map((socket) => record(socket, "announce"));
        const lost = [];
        clients.forEach((socket, i) => socket.on("disconnect", (reason) => lost.push([i, reason])));
        const acks = Promise.all(
          clients.map(async (socket, i) => {
            for (let n = 0; n < 3; n++) assert.deepEqual(await socket.emitWithAck("echo", [i, n]), [i, n]);
          }),
        );
        for (let n = 0; n < EVENTS; n++) {
          clients[n % CLIENTS].emit("announce", n);
          await until("the sender hears its event", () => heard[n % CLIENTS].length > n, { within: PATIENCE });
        }
        await soon("all acks", acks, PATIENCE);
        await until("all clients have all events", () => heard.every((events) => events.length >= EVENTS), { within: PATIENCE });
        const all = Array.from({ length: EVENTS }, (_, n) => [n]);
        for (const events of heard) assert.deepEqual([...events].sort(([a], [b]) => a - b), all);
        assert.deepEqual(lost, []);

        const sum = async (name) => (await Promise.all(cluster.nodes.map((node) => node.metric(name)))).reduce((a, b) => a + b);
        const [answered, forwarded] = [await sum("fanfare_session_requests_total"), await sum("fanfare_forwarded_here_total")];
        // One that was handed on is counted where it arrived, and where it was answered.
        const share = forwarded / (answered - forwarded);
        assert.ok(share >= 0.6, `${forwarded} of ${answered - forwarded} requests were handed on`);
        cluster.assertAlive();
        if (transports.length === 1) await oneNodeDies(cluster, clients, lost);
      } finally {
        await cluster.stop();
        await backend.stop();
      }
    });
  }
});
