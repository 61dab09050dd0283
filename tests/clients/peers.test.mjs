// The peers of `fanfare-load compare` have one application, and lose nothing of it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { nats, redis } from "./testbed/backends.mjs";
import { spawnPeer, startPeer } from "./testbed/peers.mjs";
import { soon, until } from "./testbed/wait.mjs";

const PEERS = ["fanfare", "node", "socketioxide", "floor"];

let backends;
before(async () => (backends = await Promise.all([redis(), nats()])));
after(async () => Promise.all(backends.map((backend) => backend.stop())));

/** Runs `tell` with a client of each of the URLs; each keeps what it heard in `heard`. */
async function withClients(urls, tell) {
  const clients = urls.map((url) => io(url, { transports: ["websocket"], forceNew: true, reconnection: false }));
  try {
    for (const client of clients) {
      client.heard = [];
      client.on("msg", (data) => client.heard.push(data));
    }
    await Promise.all(clients.map((client) => soon("a client is connected", once(client, "connect"))));
    await tell(...clients);
  } finally {
    for (const client of clients) client.disconnect();
  }
}

/** Runs `tell` with so many processes of a peer, which end on SIGTERM. */
async function withPeers(name, environments, tell) {
  const started = [];
  try {
    for (const env of environments) started.push(await startPeer(name, env));
    await tell(started);
    for (const peer of started) process.kill(peer.pid, "SIGTERM");
  } finally {
    for (const peer of started) {
      const end = await peer.stop();
      assert.ok(end.code === 0 || end.signal === "SIGTERM", peer.report(`did not end well: ${JSON.stringify(end)}`));
    }
  }
}

const ack = (client, ...event) => client.timeout(10_000).emitWithAck(...event);

/** An answer to what was sent behind everything else: what was to come to this client from this process has come. */
const settled = (...clients) => Promise.all(clients.map((client) => ack(client, "echo", "settled")));

/** socketioxide handles each event of a client in a task of its own: they may overtake each other. */
const inOrder = (name, messages) => (name === "socketioxide" ? messages.map((message) => JSON.stringify(message)).sort() : messages);
const how = (name) => (name === "socketioxide" ? "once" : "once and in order");

const LONG = "x".repeat(70_000);
const MESSAGES = ["text", 'quotes " and \\ and \u{1f600}', 17, null, { an: ["object", { in: 1 }] }, [], "y".repeat(200), LONG];

describe("the application", { concurrency: true }, () => {
  for (const name of PEERS) {
    test(`${name}: pub reaches everybody, pubroom who has joined, each ${how(name)}, and echo is answered`, async () => {
      await withPeers(name, [{}], ([{ url }]) =>
        withClients([url, url, url], async (a, b, c) => {
          for (const message of MESSAGES) assert.deepEqual(await ack(a, "echo", message), message);

          /** What a client has heard when it has heard so many messages, and an answer to what it asked then. */
          const heard = async (client, count) => {
            await until(() => `${count} messages have come, not ${client.heard.length}`, () => client.heard.length >= count);
            await settled(client);
            return inOrder(name, client.heard.splice(0));
          };
          for (const message of MESSAGES) a.emit("pub", message);
          for (const client of [a, b, c]) assert.deepEqual(await heard(client, MESSAGES.length), inOrder(name, MESSAGES));

          // Twice is as good as once.
          b.emit("join", "red");
          await Promise.all([ack(b, "join", "red"), ack(c, "join", "red"), ack(c, "join", "blue")]);
          a.emit("pubroom", "red", "to red");
          a.emit("pubroom", "blue", LONG);
          a.emit("pubroom", "nobody's", "to nobody");
          for (const message of MESSAGES) a.emit("pubroom", "red", message);
          a.emit("pub", "to all");
          assert.deepEqual(await heard(c, 3 + MESSAGES.length), inOrder(name, ["to red", LONG, ...MESSAGES, "to all"]));
          assert.deepEqual(await heard(b, 2 + MESSAGES.length), inOrder(name, ["to red", ...MESSAGES, "to all"]));
          assert.deepEqual(await heard(a, 1), inOrder(name, ["to all"]));

          // Who has gone is in no room any more, and harms nobody.
          b.disconnect();
          await settled(a);
          for (let number = 0; number < 100; number += 1) a.emit("pubroom", "red", number);
          a.emit("pub", "end");
          assert.deepEqual(await heard(c, 101), inOrder(name, [...Array(100).keys(), "end"]));
          assert.deepEqual(await heard(a, 1), inOrder(name, ["end"]));
        }),
      );
    });
  }
});

describe("a client that does not read for a while gets everything later, and holds up nobody", { concurrency: true }, () => {
  // What the others do then is their own affair: fanfare has a bound (`limits.outbox_bytes`), and so has socketioxide.
  test("floor", async () => {
    await withPeers("floor", [{}], ([{ url }]) =>
      withClients([url, url], async (fast, slow) => {
        const socket = slow.io.engine.transport.ws._socket;
        socket.pause();
        const count = 300;
        // More than the buffers of the kernel take: 21 MB.
        for (let number = 0; number < count; number += 1) fast.emit("pub", `${number} ${LONG}`);
        await until("the one that reads has all", () => fast.heard.length === count, { within: 30_000 });
        assert.ok(slow.heard.length < count, "the other was to be behind");
        socket.resume();
        await until("the other has all", () => slow.heard.length === count, { within: 30_000 });
        assert.deepEqual(slow.heard.map((text) => parseInt(text)), [...Array(count).keys()]);
        assert.deepEqual(slow.heard, fast.heard);
      }),
    );
  });
});

describe("a cluster", { concurrency: true }, () => {
  for (const [name, variable] of [["fanfare", "REDIS"], ["fanfare", "NATS"], ["node", "REDIS"], ["socketioxide", "REDIS"]]) {
    test(`${name} over ${variable}: what one process is told reaches the clients of all, ${how(name)}`, async () => {
      const environment = { [variable]: variable === "REDIS" ? `redis://127.0.0.1:${backends[0].port}` : `nats://127.0.0.1:${backends[1].port}` };
      await withPeers(name, [environment, environment, environment], (peers) =>
        withClients(peers.map((peer) => peer.url), async (a, b, c) => {
          // Nodes do not wait for each other, or for their backend.
          await until("the processes hear each other", async () => {
            for (const client of [a, b, c]) client.emit("pub", client.id);
            await settled(a, b, c);
            return [a, b, c].every((client) => [a, b, c].every((other) => client.heard.includes(other.id)));
          });
          await Promise.all([ack(b, "join", `red of ${name}`), ack(c, "join", `red of ${name}`)]);
          const since = (client) => inOrder(name, client.heard.filter((message) => typeof message === "number" || /^red |^end/.test(message)));
          for (let number = 0; number < 100; number += 1) {
            a.emit("pub", number);
            a.emit("pubroom", `red of ${name}`, `red ${number}`);
          }
          a.emit("pub", "end");
          const all = (client) => (client === a ? 101 : 201);
          await until("all have heard all", () => [a, b, c].every((client) => since(client).length >= all(client)));
          const numbers = [...Array(100).keys()];
          assert.deepEqual(since(a), inOrder(name, [...numbers, "end"]));
          for (const client of [b, c]) assert.deepEqual(since(client), inOrder(name, [...numbers.flatMap((number) => [number, `red ${number}`]), "end"]));
        }),
      );
    });
  }

  for (const [name, variable] of [["node", "NATS"], ["socketioxide", "NATS"], ["floor", "NATS"], ["floor", "REDIS"]]) {
    test(`${name} over ${variable} is none: it says so and ends`, async () => {
      const child = spawnPeer(name, { [variable]: "redis://127.0.0.1:1" });
      try {
        assert.equal((await soon("it ends", child.exited)).code, 1);
        // Its output may be read after its end is heard of.
        await until("it says why", () => new RegExp(`${variable}.* is set, and `).test(child.report("")));
      } finally {
        await child.kill();
      }
    });
  }
});

test("the floor pings its clients, so that they stay", async () => {
  await withPeers("floor", [{}], ([{ url }]) =>
    withClients([url], async (client) => {
      await soon("a ping", once(client.io, "ping"), 40_000);
      assert.equal(await ack(client, "echo", "still there"), "still there");
    }),
  );
});
