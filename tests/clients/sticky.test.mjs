// Polling behind a balancer that knows nothing of sessions: every request goes to the next node, which hands it to the session's owner. In the
// middle of it a node is killed, and only its sessions end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nats, redis } from "./testbed/backends.mjs";
import { tagOf } from "./testbed/clients.mjs";
import { Cluster } from "./testbed/cluster.mjs";
import { load } from "./testbed/load.mjs";
import { soon, until } from "./testbed/wait.mjs";

/** Stock clients, and clients of `fanfare-load`, which come back. */
const STOCK = 500;
const OWN = 1000;
/** Stock clients that connect at the same time. */
const AT_ONCE = 25;
/** Events, and events a second. */
const EVENTS = 20;
const RATE = 1;
/** A node is killed when the stock clients have seen so many. */
const UNTIL_DEATH = 6;
const DYING = 1;
/** A machine that is busy with other tests takes its time. */
const PATIENCE = 120_000;
const environment = {
  // A pong that is posted through a node when it dies is lost, and rightly ends its session: there are no heartbeats while one is killed.
  FANFARE_ENGINE__PING_INTERVAL: "300s",
  // A node that is busy is not to be taken for one that is stopped.
  FANFARE_FORWARD__CONNECT_TIMEOUT: "20s",
};

const POLLING = ["polling"];
const UPGRADE = ["polling", "websocket"];

for (const [name, start, transports] of [
  ["polling, over Redis", redis, POLLING],
  ["polling with upgrade, over Redis", redis, UPGRADE],
  ["polling, over NATS", nats, POLLING],
  ["polling with upgrade, over NATS", nats, UPGRADE],
]) {
  test(`${STOCK} stock clients and ${OWN} of fanfare-load, ${name}: nothing is lost, repeated or swapped, and a node's death ends its sessions only`, async () => {
    const backend = await start();
    const cluster = await Cluster.start({ backend, balanced: "round robin", transports, environment });
    try {
      const clients = await crowd(cluster);
      await acks(clients);
      const own = ["--transport", transports === POLLING ? "polling" : "upgrade", "--connections", `${OWN}`];
      const streams = clients.map((client) => new Stream(client));
      const publisher = ["--publisher-transport", "websocket", "--publisher-targets", cluster.nodes[0].url, "--event", "announce"];
      const flags = [...own, ...publisher, "--rate", `${RATE}`, "--duration", `${EVENTS / RATE}`, "--reconnect"];
      let ended;
      const { code, report } = await load("fanout", [cluster.url], flags, async () => {
        await until("the stock clients see events", () => streams.every((stream) => stream.last >= UNTIL_DEATH), { within: PATIENCE });
        await assertForwarded(cluster);
        cluster.assertAlive();
        ended = await sessionsOf(cluster.nodes[DYING]);
        await cluster.kill(DYING);
      });
      await acks(clients.filter((client) => client.connected));

      // Of the clients of fanfare-load: who ended came back, and in no session there is a flaw.
      const { published, lost, duplicate, out_of_order, disconnected } = report;
      assert.deepEqual({ published, lost, duplicate, out_of_order, disconnected }, { published: EVENTS, lost: 0, duplicate: 0, out_of_order: 0, disconnected: 0 }, JSON.stringify(report));
      assert.equal(code, 0);
      // Of the stock clients.
      assert.deepEqual(streams.flatMap((stream) => stream.flaws), []);
      const [gone, left] = [streams.filter((stream) => stream.ended), streams.filter((stream) => !stream.ended)];
      await until("who is left has all events", () => left.every((stream) => stream.last === EVENTS), { within: PATIENCE });
      // All whose session the node had, or whose WebSocket it carried, and nobody else.
      assert.equal(gone.length + report.reconnects, ended.own + ended.carried, JSON.stringify({ gone: gone.length, ended, report }));
      assert.deepEqual(left.filter(({ tag }) => tag === ended.tag), []);
      if (transports === POLLING) assert.deepEqual(gone.filter(({ tag }) => tag !== ended.tag), []);
      // A thousand more, with acks, at who is left.
      assertAcks(await load("echo", [cluster.url], [...own, "--in-flight", "100", "--duration", "3", "--patience", "60"]));
      cluster.assertAlive();
    } finally {
      await cluster.stop();
      await backend.stop();
    }
  });
}

/** What a stock client sees of the numbered stream, and its end. */
class Stream {
  last = 0;
  flaws = [];
  ended = false;

  constructor(client) {
    this.tag = tagOf(client);
    client.on("announce", (message) => {
      // What fanfare-load publishes begins with a tag of the run, its publisher and a number.
      const number = Number(message.split(" ")[2]);
      if (number !== this.last + 1) this.flaws.push(`${number} after ${this.last}`);
      this.last = number;
    });
    client.on("disconnect", () => (this.ended = true));
  }
}

async function crowd(cluster) {
  const clients = [];
  while (clients.length < STOCK) {
    clients.push(...(await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => cluster.connect(i)))));
  }
  const upgrading = () => clients.filter((client) => client.io.engine.transport.name !== cluster.transports.at(-1)).length;
  await until(() => `${upgrading()} clients have not upgraded`, () => upgrading() === 0, { within: PATIENCE });
  return clients;
}

/** Every client is answered, by its own values. */
async function acks(clients) {
  const answered = clients.map(async (client, i) => {
    for (let n = 0; n < 3; n++) assert.deepEqual(await client.emitWithAck("echo", [i, n]), [i, n]);
  });
  await soon("all acks", Promise.all(answered), PATIENCE);
}

/** Every client of fanfare-load is answered, by its own values. */
function assertAcks({ code, report }) {
  const { acked, lost, late, unexpected, wrong, disconnected } = report;
  assert.deepEqual({ acked, lost, late, unexpected, wrong, disconnected }, { acked: report.emitted, lost: 0, late: 0, unexpected: 0, wrong: 0, disconnected: 0 });
  assert.ok(acked >= OWN && code === 0, JSON.stringify(report));
}

/** Most requests reached another node than their session's. */
async function assertForwarded(cluster) {
  const sum = async (name) => (await Promise.all(cluster.nodes.map((node) => node.metric(name)))).reduce((a, b) => a + b);
  const [answered, forwarded] = [await sum("fanfare_session_requests_total"), await sum("fanfare_forwarded_here_total")];
  // One that was handed on is counted where it arrived, and where it was answered.
  const share = forwarded / (answered - forwarded);
  assert.ok(share >= 0.6, `${forwarded} of ${answered - forwarded} requests were handed on`);
  // Each node says so, once, when it has handed on a thousand.
  const said = cluster.nodes.map((node) => node.report("").split("many requests reach another node").length - 1);
  for (const [i, node] of cluster.nodes.entries()) {
    const due = (await node.metric("fanfare_forwarded_total")) > 1000;
    assert.ok(said[i] === 1 || (said[i] === 0 && !due), `said ${said[i]} times`);
  }
}

/** Who ends with a node: the sessions that it has, and those of others whose WebSocket it carries. */
async function sessionsOf(node) {
  const { tag } = await (await fetch(new URL("/identity", node.internal))).json();
  return { tag, own: await node.metric("fanfare_sessions"), carried: await node.metric("fanfare_forwarded_upgrades") };
}
