// The main job, told once: an emit on any node reaches the clients of every node. `redis.test.mjs`, `nats.test.mjs` and
// `haproxy.test.mjs` run it; between them only configuration differs.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { fence, gate, record } from "./testbed/clients.mjs";
import { Cluster } from "./testbed/cluster.mjs";
import { until } from "./testbed/wait.mjs";

/** Clients that see the numbered stream, and events of it a second. */
const READERS = 200;
const RATE = 500;

/** Tells all stories on three nodes over the backend that `openBackend` starts; `options` are those of `Cluster.start`. */
export function tellStories(title, openBackend, options = {}) {
  describe(title, () => {
    let backend, cluster;

    before(async () => {
      backend = await openBackend();
      cluster = await Cluster.start({ backend, ...options });
    });
    afterEach(() => cluster.assertAlive());
    after(async () => {
      await cluster?.stop();
      await backend?.stop();
    });

    /** Three clients at each node; all of them, and the first of the first node, who acts. */
    async function crowd() {
      const [here, ...elsewhere] = await cluster.spread(3);
      return { actor: here[0], neighbours: here.slice(1), strangers: elsewhere.flat(), all: [here, ...elsewhere].flat() };
    }

    test("a broadcast reaches the clients of every node and not its sender", async () => {
      const { actor, neighbours, strangers, all } = await crowd();
      const heard = new Map(all.map((socket) => [socket, record(socket, "shout")]));
      for (let n = 1; n <= 20; n++) actor.emit("shout", n, { text: "hello" });
      await fence(actor, all);
      const everything = Array.from({ length: 20 }, (_, i) => [i + 1, { text: "hello" }]);
      for (const socket of [...neighbours, ...strangers]) assert.deepEqual(heard.get(socket), everything);
      assert.deepEqual(heard.get(actor), []);
      cluster.hangUp(...all);
    });

    test("io.sockets.emit reaches the clients of every node and its sender too", async () => {
      const { actor, all } = await crowd();
      const heard = all.map((socket) => record(socket, "announce"));
      for (let n = 1; n <= 20; n++) actor.emit("announce", n);
      await until("all clients have all events", () => heard.every((events) => events.length === 20));
      for (const events of heard) assert.deepEqual(events, Array.from({ length: 20 }, (_, i) => [i + 1]));
      cluster.hangUp(...all);
    });

    test("a room is its members, wherever they are, from their join to their leave", async () => {
      const { actor, all } = await crowd();
      const members = all.filter((_, i) => i % 3 === 1);
      const heard = new Map(all.map((socket) => [socket, record(socket, "say")]));
      await Promise.all(members.map((socket) => inRoom("join", socket, "room-1")));
      actor.emit("say", "room-1", "to one member at each node");
      actor.emit("say", "room-2", "to nobody");
      await fence(actor, all);
      for (const socket of all) {
        assert.deepEqual(heard.get(socket), members.includes(socket) ? [["room-1", "to one member at each node"]] : []);
      }
      await Promise.all(members.slice(1).map((socket) => inRoom("leave", socket, "room-1")));
      actor.emit("say", "room-1", "to the one that stayed");
      await fence(actor, all);
      members[0].emit("say", "room-1", "from a member, to every member but itself");
      await fence(members[0], all);
      assert.deepEqual(members.map((socket) => heard.get(socket).length), [2, 1, 1]);
      members[1].emit("say", "room-1", "from another node, and from outside");
      await fence(members[1], all);
      assert.deepEqual(members.map((socket) => heard.get(socket).length), [3, 1, 1]);
      cluster.hangUp(...all);
    });

    test("a rule opens the rooms that it names, and no others", async () => {
      const { actor, strangers, all } = await crowd();
      const heard = all.map((socket) => record(socket, "say"));
      await inRoom("join", strangers[0], "private");
      actor.emit("say", "private", "not allowed by the pattern");
      actor.emit("say", strangers[1].id, "an own-id room is nobody else's to use");
      await fence(actor, all);
      assert.deepEqual(heard.flat(), []);
      cluster.hangUp(...all);
    });

    test("an event without a rule goes nowhere", async () => {
      const { actor, all } = await crowd();
      const heard = all.map((socket) => record(socket, "unheard of"));
      actor.emit("unheard of", "hello");
      await fence(actor, all);
      assert.deepEqual(heard.flat(), []);
      cluster.hangUp(...all);
    });

    test("an ack carries its arguments back", async () => {
      const [[actor]] = await cluster.spread(1);
      assert.deepEqual(await ack(actor, "echo"), []);
      assert.deepEqual(await ack(actor, "echo", 1, "two", { three: [3, null, true] }), [1, "two", { three: [3, null, true] }]);
      // Each answer belongs to its question, however many are under way.
      const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => ack(actor, "echo", n)));
      assert.deepEqual(answers.flat(), Array.from({ length: 100 }, (_, n) => n));
      await assert.rejects(actor.timeout(200).emitWithAck("unheard of"), /timed out/);
      cluster.hangUp(actor);
    });

    test("bytes stay bytes, nested anywhere", async () => {
      const { actor, all } = await crowd();
      const heard = all.map((socket) => record(socket, "announce"));
      const value = () => ({
        empty: Buffer.alloc(0),
        list: [Buffer.from([0, 1, 0x1e, 0xff]), { deep: [[Buffer.from("wörter")]] }],
        text: "b4ZmFrZQ==",
        large: Buffer.alloc(100_000, "abc"),
      });
      actor.emit("announce", value(), Buffer.from("second argument"));
      await until("all clients have it", () => heard.every((events) => events.length === 1));
      for (const [args] of heard) assert.deepEqual(args, [value(), Buffer.from("second argument")]);
      assert.deepEqual(await ack(actor, "echo", value()), [value()]);
      cluster.hangUp(...all);
    });

    test("socket.send() is an event named message", async () => {
      const { actor, neighbours, strangers, all } = await crowd();
      const heard = new Map(all.map((socket) => [socket, record(socket, "message")]));
      actor.send("hello");
      await fence(actor, all);
      for (const socket of [...neighbours, ...strangers]) assert.deepEqual(heard.get(socket), [["hello"]]);
      assert.deepEqual(heard.get(actor), []);
      cluster.hangUp(...all);
    });

    test("namespaces are apart, and an unknown one is refused", async () => {
      const { all } = await crowd();
      const heard = all.map((socket) => record(socket, "announce"));
      const chat = (await cluster.spread(1, { namespace: "/chat" })).flat();
      const chatted = chat.map((socket) => record(socket, "announce"));
      chat[0].emit("announce", "only here");
      await until("every client in /chat has it", () => chatted.every((events) => events.length === 1));
      await fence(all[0], all);
      assert.ok(heard.flat(2).every((value) => value !== "only here"));
      await assert.rejects(cluster.connect(0, { namespace: "/nowhere" }), { message: "Invalid namespace" });
      cluster.hangUp(...all, ...chat);
    });

    test("a numbered stream arrives without hole, repetition or swap, whatever the transport does meanwhile", async (t) => {
      const upgrading = cluster.transports.includes("websocket");
      const way = upgrading ? gate() : { transports: cluster.transports };
      const writer = await cluster.connect(0);
      const readers = (await cluster.spread(Math.ceil(READERS / 3), { transports: way.transports })).flat();
      const logs = readers.map((socket) => new StreamLog(socket));
      const stream = new Stream(writer);
      await until("every client reads the stream over polling", () => logs.every((log) => log.last >= RATE / 2), { within: 30_000 });
      if (upgrading) {
        way.open();
        const left = () => logs.filter((log) => !log.upgradedAt).length;
        await until(() => `${left()} of ${logs.length} clients have not upgraded`, () => left() === 0, { within: 30_000 });
      }
      const changed = Math.max(...logs.map((log) => log.last));
      await until("every client reads on", () => logs.every((log) => log.last >= changed + RATE), { within: 30_000 });
      const total = stream.end();
      await until("every client has the last event", () => logs.every((log) => log.last === total), { within: 30_000 });
      assert.deepEqual(logs.flatMap((log) => log.flaws), []);
      assert.deepEqual(readers.map((socket) => socket.io.engine.transport.name), readers.map(() => (upgrading ? "websocket" : "polling")));
      t.diagnostic(`${readers.length} clients, ${total} events at ${Math.round(stream.rate)}/s each`);
      cluster.hangUp(writer, ...readers);
    });
  });
}

/** An ack's arguments, all of them (`emitWithAck` gives the first only). */
function ack(socket, event, ...args) {
  return new Promise((resolve, reject) => {
    socket.timeout(5_000).emit(event, ...args, (error, ...answer) => (error ? reject(error) : resolve(answer)));
  });
}

/** Joins or leaves: events of one client run in order, so an ack asked for afterwards proves it done. */
async function inRoom(event, socket, room) {
  socket.emit(event, room);
  await ack(socket, "echo");
}

/** Emits the numbers from 1 on, `RATE` of them a second, until it is ended. */
class Stream {
  #writer;
  #begun = performance.now();
  #sent = 0;
  #timer = setInterval(() => this.#catchUp(), 5);

  constructor(writer) {
    this.#writer = writer;
  }

  #catchUp() {
    const due = ((performance.now() - this.#begun) * RATE) / 1000;
    while (this.#sent < due) this.#writer.emit("announce", ++this.#sent);
  }

  /** Ends the stream; the result is the last number. */
  end() {
    clearInterval(this.#timer);
    this.rate = this.#sent / ((performance.now() - this.#begun) / 1000);
    return this.#sent;
  }
}

/** What one client sees of the stream. */
class StreamLog {
  last = 0;
  flaws = [];
  /** The last number seen when the transport changed; 0 before. */
  upgradedAt = 0;

  constructor(socket) {
    socket.on("announce", (number) => {
      if (number !== this.last + 1) this.flaws.push(`${number} after ${this.last}`);
      this.last = number;
    });
    socket.io.engine.once("upgrade", () => (this.upgradedAt = this.last));
    socket.once("disconnect", (reason) => this.flaws.push(`disconnected: ${reason}`));
  }
}
