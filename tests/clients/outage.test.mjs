// The backend is killed for five seconds and restarted while broadcasts flow: local clients must not notice, remote ones must hear
// again soon, readiness must tell, and what was lost must be counted exactly.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nats, redis } from "./testbed/backends.mjs";
import { fence } from "./testbed/clients.mjs";
import { Cluster } from "./testbed/cluster.mjs";
import { until } from "./testbed/wait.mjs";

const OUTAGE = 5_000;
/** Bounds of the promise, in milliseconds. */
const LOCAL_DELIVERY = 1_000;
const RESUMED = 5_000;
/** Milliseconds between two events of one writer. */
const PACE = 10;

const environment = { FANFARE_READY__GRACE: "1s", FANFARE_READY__WHEN_DEAF: "always" };

for (const openBackend of [redis, nats]) {
  test(`${openBackend.name} is away for five seconds while broadcasts flow`, async (t) => {
    const backend = await openBackend();
    t.after(() => backend.stop());
    const cluster = await Cluster.start({ backend, environment });
    t.after(() => cluster.stop());
    // At each node one client that writes and two that read.
    const groups = await cluster.spread(3, { transports: ["websocket"] });
    const writers = groups.map(([writer], node) => new Writer(writer, node));
    const readers = groups.flatMap(([, ...sockets], node) => sockets.map((socket) => new Reader(socket, node, writers)));
    const remote = readers.flatMap((reader) => writers.filter(({ node }) => node !== reader.node).map((writer) => ({ reader, writer })));
    await until("every reader hears every writer", () => readers.every((reader) => reader.logs.every((log) => log.length > 20)));
    const countedBefore = await holes(cluster);

    const downAt = await backend.kill();
    await until("every node says that it is not ready", async () => (await statuses(cluster)).every((status) => status === 503));
    await until("the outage is over", () => performance.now() >= downAt + OUTAGE);
    cluster.assertAlive();
    const upAt = await backend.start();
    const resumed = ({ reader, writer }) => reader.logs[writer.node].find((event) => event.emitted >= upAt)?.arrived;
    await until("every reader hears every remote writer again", () => remote.every(resumed), { within: 4 * RESUMED });
    const resumedAfter = Math.max(...remote.map(resumed)) - upAt;
    await until("every node says that it is ready", async () => (await statuses(cluster)).every((status) => status === 200));

    for (const writer of writers) writer.end();
    for (const writer of writers) await fence(writer.socket, groups.flat());
    cluster.assertAlive();

    // Local delivery: complete, in order, at once.
    for (const reader of readers) {
      assert.deepEqual(reader.logs[reader.node].map((event) => event.number), writers[reader.node].numbers);
    }
    const slowest = Math.max(...readers.flatMap((reader) => reader.logs[reader.node].map((event) => event.arrived - event.emitted)));
    assert.ok(slowest < LOCAL_DELIVERY, `a local delivery took ${slowest} ms`);
    // Remote delivery: with holes, but without repetition or swap.
    assert.ok(resumedAfter < RESUMED, `remote delivery resumed after ${resumedAfter} ms`);
    for (const { reader, writer } of remote) {
      const numbers = reader.logs[writer.node].map((event) => event.number);
      assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b), `from node ${writer.node} at node ${reader.node}`);
    }
    // One event that a node missed is one hole there, whatever the number of its clients.
    const missing = groups.map((_, node) => missingAt(node, readers, writers));
    assert.ok(missing.every((count) => count > 0), `an outage of five seconds loses events at every node: ${missing}`);
    let counted;
    await until(
      () => `each node counts its holes: ${missing} are missing, ${counted} were counted`,
      async () => {
        counted = (await holes(cluster)).map((count, node) => count - countedBefore[node]);
        return counted.every((count, node) => count === missing[node]);
      },
    );
    const [slow, again] = [slowest, resumedAfter].map(Math.round);
    t.diagnostic(`local deliveries took up to ${slow} ms, remote ones resumed after ${again} ms; the nodes miss ${missing} events and count them`);
  });
}

/** A client that broadcasts the numbers from 1 on. */
class Writer {
  numbers = [];
  #timer;

  constructor(socket, node) {
    Object.assign(this, { socket, node });
    this.#timer = setInterval(() => {
      this.numbers.push(this.numbers.length + 1);
      socket.emit("shout", { node, number: this.numbers.length, emitted: performance.now() });
    }, PACE);
  }

  end() {
    clearInterval(this.#timer);
  }
}

/** A client that logs what it hears of each writer. */
class Reader {
  constructor(socket, node, writers) {
    this.node = node;
    this.logs = writers.map(() => []);
    socket.on("shout", (event) => this.logs[event.node].push({ ...event, arrived: performance.now() }));
  }
}

/** How many events of other nodes' writers the clients of a node never saw; they must agree. */
function missingAt(node, readers, writers) {
  const counts = readers
    .filter((reader) => reader.node === node)
    .map((reader) => writers.filter((writer) => writer.node !== node).reduce((sum, writer) => sum + writer.numbers.length - reader.logs[writer.node].length, 0));
  assert.equal(new Set(counts).size, 1, `the clients of node ${node} miss the same events: ${counts}`);
  return counts[0];
}

function holes(cluster) {
  return Promise.all(cluster.nodes.map((node) => node.metric("fanfare_cluster_holes_total")));
}

function statuses(cluster) {
  return Promise.all(cluster.nodes.map(async (node) => (await node.readiness()).status));
}
