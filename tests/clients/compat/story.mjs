// What every client must be able to do, told once for the JavaScript clients of all generations. `story.py` and `rust/` tell the same
// for theirs. What a generation cannot do is in its `Generation`, not in the steps.

import assert from "node:assert/strict";
import { record } from "../testbed/clients.mjs";
import { Proxy } from "../testbed/proxy.mjs";
import { soon, until } from "../testbed/wait.mjs";

/** The ways to a server: what a client may use, and what it uses in the end. */
export const ways = {
  polling: { transports: ["polling"], end: "polling" },
  websocket: { transports: ["websocket"], end: "websocket" },
  "polling, then websocket": { transports: ["polling", "websocket"], end: "websocket" },
};

/** From a lost connection to the next attempt, in milliseconds. */
const RECONNECTION_DELAY = 20;

/** Every type that JSON has, and bytes at any depth. */
const everything = (text) => [
  0,
  -1,
  1.5,
  2 ** 53 - 1,
  "",
  text,
  true,
  false,
  null,
  [],
  {},
  [1, [2, [null, { three: [3] }]]],
  { "": 0, [text]: text, list: [true, { deep: { deeper: null } }] },
  Buffer.from([0, 1, 0x1e, 0x7f, 0x80, 0xff]),
  { bytes: [Buffer.alloc(0), { more: Buffer.from("wörter") }], beside: "text", large: Buffer.alloc(70_000, "abc") },
];

const TEXT = 'wörter "und" ключ 😀 \u2028 \\ \n & = ?';
const ASCII = '"words" \\ \n & = ?';

/** A client library: its name, the version of Engine.IO it speaks, and its `io`. */
export class Generation {
  constructor(name, revision, io, { asciiPolling = false } = {}) {
    Object.assign(this, { name, revision, io, asciiPolling });
  }

  /** Before Engine.IO 4 there is no `auth`: what is to be proven stands in a query, and a refusal is the event `error`. */
  get old() {
    return this.revision === 3;
  }

  /** A client; namespaces of one `url` share a connection unless `forceNew`. */
  client(url, namespace, { auth, ...options }) {
    return this.io(url + namespace, {
      forceNew: true,
      reconnectionDelay: RECONNECTION_DELAY,
      randomizationFactor: 0,
      ...(this.old ? { query: auth ?? {} } : { auth }),
      ...options,
    });
  }

  /** Resolves to what the server said when it refused the client. */
  refusal(socket) {
    const event = this.old ? "error" : "connect_error";
    const refused = new Promise((resolve, reject) => socket.once(event, resolve).once("connect", () => reject(new Error("connected"))));
    return soon("a refusal", refused);
  }

  /** Fails unless `refusal` has these words. Old clients are told the data instead of the message. */
  assertRefusal(refusal, message, data) {
    if (this.old) return assert.deepEqual(refusal, data ?? { message });
    assert.equal(refusal.message, message);
    assert.deepEqual(refusal.data, data);
  }
}

/** Tells the story to a server; `way` is one of `ways`. */
export class Story {
  #sockets = [];

  constructor({ generation, server, way, parser }) {
    this.generation = generation;
    this.server = server;
    this.way = way;
    this.options = { transports: way.transports, ...(parser ? { parser } : {}) };
    this.msgpack = Boolean(parser);
    this.text = generation.asciiPolling && way.transports.includes("polling") ? ASCII : TEXT;
  }

  everything() {
    return everything(this.text);
  }

  static async tell(circumstances) {
    const story = new Story(circumstances);
    story.proxy = await Proxy.start(story.server.port);
    try {
      await story.#tell();
      story.server.assertAlive();
    } finally {
      for (const socket of story.#sockets) socket.close();
      story.proxy.stop();
    }
  }

  async #tell() {
    await this.connectsWithAuth();
    await this.isRefused();
    await this.exchangesEveryType();
    if (this.msgpack) await this.exchangesWhatJsonLacks();
    await this.answersAndIsAnswered();
    await this.sharesRooms();
    await this.joinsNamespaces();
    await this.staysAwayWhenDisconnected();
    await this.comesBackAfterLoss();
  }

  open(namespace = "/", options = {}) {
    const socket = this.generation.client(options.url ?? this.server.url, namespace, { ...this.options, ...options });
    this.#sockets.push(socket);
    return socket;
  }

  /** A connected client. */
  async connect(namespace, options) {
    const socket = this.open(namespace, options);
    await connected(socket);
    return socket;
  }

  async connectsWithAuth() {
    const auth = { token: "secret", more: this.text };
    for (const namespace of ["/", "/custom"]) {
      const socket = this.open(namespace, { auth });
      const told = record(socket, "auth");
      await connected(socket);
      await until("the server says what it was given", () => told.length);
      // Old clients carry it to a namespace in its name; for the first one it is in the request.
      assert.deepEqual(told, [[this.generation.old && namespace === "/" ? {} : auth]]);
      await this.#settled(socket);
      socket.close();
    }
  }

  async isRefused() {
    const refused = (...args) => this.generation.assertRefusal(...args);
    const wrong = { token: "wrong" };
    const data = { code: 401, hint: ["ask", null] };
    refused(await this.generation.refusal(this.open("/", { auth: wrong })), "not authorized", data);
    // One namespace is refused, the others of the connection are not.
    const socket = await this.connect();
    refused(await this.generation.refusal(this.beside(socket, "/custom", wrong)), "not authorized", data);
    refused(await this.generation.refusal(this.beside(socket, "/nowhere")), "Invalid namespace");
    refused(await this.generation.refusal(this.beside(socket, "/dynamic-x")), "Invalid namespace");
    await connected(this.beside(socket, "/dynamic-3", { token: "right" }));
    assert.deepEqual(await ack(socket, "message-with-ack", "still here"), ["still here"]);
    socket.io.close?.();
    socket.close();
  }

  /** A socket of another namespace on the same connection. */
  beside(socket, namespace, auth) {
    const beside = socket.io.socket(namespace, this.generation.old ? { query: new URLSearchParams(auth).toString() } : { auth });
    this.#sockets.push(beside);
    return beside;
  }

  async exchangesEveryType() {
    const socket = await this.connect();
    const heard = record(socket, "message-back");
    socket.emit("message", ...this.everything());
    for (const value of this.everything()) socket.emit("message", value);
    socket.emit("message");
    await until("every message comes back", () => heard.length === this.everything().length + 2);
    assert.deepEqual(heard, [this.everything(), ...this.everything().map((value) => [value]), []]);
    socket.close();
  }

  async exchangesWhatJsonLacks() {
    const socket = await this.connect();
    const bytes = (...values) => Uint8Array.from(values).buffer;
    const values = () => [undefined, { left: undefined, kept: [undefined, 1] }, new Date(1_600_000_000_123), [new Date(-1)], bytes(1, 2, 3), { bytes: bytes() }];
    assert.deepEqual(await ack(socket, "message-with-ack", ...values()), values());
    // Of a typed array goes what it is a view of, all of it.
    assert.deepEqual(await ack(socket, "message-with-ack", new Float32Array([1.5, -1]), new Uint8Array(bytes(1, 2, 3), 1)), [new Float32Array([1.5, -1]).buffer, bytes(1, 2, 3)]);
    socket.close();
  }

  async answersAndIsAnswered() {
    const socket = await this.connect();
    assert.deepEqual(await ack(socket, "message-with-ack", ...this.everything()), this.everything());
    assert.deepEqual(await ack(socket, "message-with-ack"), []);
    const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => ack(socket, "message-with-ack", n)));
    assert.deepEqual(answers.flat(), Array.from({ length: 100 }, (_, n) => n));
    // The server asks back, and the answer to that is its answer.
    const question = { text: this.text, number: 1.5, bytes: Buffer.from([1, 2, 3]) };
    socket.on("question", (asked, answer) => answer({ ...asked, number: asked.number * 2, bytes: Buffer.concat([asked.bytes, asked.bytes]) }));
    const [answer] = await ack(socket, "ask", question);
    assert.deepEqual(answer, { text: this.text, number: 3, bytes: Buffer.from([1, 2, 3, 1, 2, 3]) });
    socket.close();
  }

  async sharesRooms() {
    const room = `room ${this.generation.name} ${Math.random()}`;
    const [actor, member, stranger] = await Promise.all([this.connect(), this.connect(), this.connect()]);
    const all = [actor, member, stranger];
    const heard = all.map((socket) => record(socket, "say"));
    await ack(actor, "join", room);
    await ack(member, "join", room);
    actor.emit("say", room, 1);
    stranger.emit("say", room, 2, Buffer.from("bytes"));
    await until("the members hear what is said", () => heard[0].length === 1 && heard[1].length === 2);
    await ack(member, "leave", room);
    stranger.emit("say", room, 3);
    await until("who stayed hears on", () => heard[0].length === 2);
    // What the server sends to one client comes in order: an answer now proves that nothing else was on its way.
    await Promise.all(all.map((socket) => ack(socket, "message-with-ack")));
    const byFirst = heard.map((events) => events.map(([, ...rest]) => rest).sort(([a], [b]) => a - b));
    assert.deepEqual(byFirst, [[[2, Buffer.from("bytes")], [3]], [[1], [2, Buffer.from("bytes")]], []]);
    const announced = all.map((socket) => record(socket, "announce"));
    const shouted = all.map((socket) => record(socket, "shout"));
    actor.emit("announce", room);
    actor.emit("shout", room);
    const mine = (events) => events.filter(([value]) => value === room).length;
    await until("everybody hears an announcement, all others a shout", () => announced.every(mine) && shouted.slice(1).every(mine));
    await ack(actor, "message-with-ack");
    assert.deepEqual([announced.map(mine), shouted.map(mine)], [[1, 1, 1], [0, 1, 1]]);
    for (const socket of all) socket.close();
  }

  async joinsNamespaces() {
    const main = await this.connect();
    const custom = this.beside(main, "/custom");
    const one = this.beside(main, "/dynamic-1");
    const two = this.beside(main, "/dynamic-2");
    const sockets = [main, custom, one, two];
    await Promise.all(sockets.map(connected));
    const unique = `${this.generation.name} ${Math.random()}`;
    const heard = sockets.map((socket) => record(socket, "announce"));
    const family = sockets.map((socket) => record(socket, "family"));
    const mine = (events) => events.filter(([, id]) => id === unique).map(([name]) => name);
    custom.emit("announce", "custom", unique);
    one.emit("announce", "one", unique);
    await until("each namespace hears its own", () => mine(heard[1]).length === 1 && mine(heard[2]).length === 1);
    // All children of a dynamic namespace hear what is sent to their parent.
    one.emit("tell the family", "all", unique);
    await until("both children hear it", () => mine(family[2]).length === 1 && mine(family[3]).length === 1);
    for (const socket of sockets) assert.deepEqual(await ack(socket, "message-with-ack", unique), [unique]);
    assert.deepEqual(heard.map(mine), [[], ["custom"], ["one"], []]);
    assert.deepEqual(family.map(mine), [[], [], ["all"], ["all"]]);
    // Who leaves one namespace is still in the others.
    custom.close();
    assert.deepEqual(await ack(main, "message-with-ack", 1), [1]);
    for (const socket of sockets) socket.close();
  }

  async staysAwayWhenDisconnected() {
    const [kicked, thrownOut, witness] = await Promise.all([this.connect(), this.connect(), this.connect("/", { url: this.proxy.url })]);
    const reasons = [record(kicked, "disconnect"), record(thrownOut, "disconnect")];
    kicked.emit("kick");
    thrownOut.emit("kick out");
    await until("both are disconnected", () => reasons.every((heard) => heard.length));
    assert.deepEqual(reasons.map(([[reason]]) => reason), ["io server disconnect", "io server disconnect"]);
    // Another client loses its connection later, and is back first: the two would have been, if they tried.
    for (let round = 0; round < 3; round++) await this.#lose(witness);
    assert.deepEqual([kicked.connected, thrownOut.connected], [false, false]);
    // They may come back if they are told to.
    kicked.open();
    await connected(kicked);
    for (const socket of [kicked, thrownOut, witness]) socket.close();
  }

  async comesBackAfterLoss() {
    const socket = await this.connect("/", { url: this.proxy.url });
    const custom = this.beside(socket, "/custom");
    await connected(custom);
    const ids = [socket.id, custom.id];
    const reason = await this.#lose(socket);
    assert.ok(["transport close", "transport error"].includes(reason), reason);
    await connected(custom);
    assert.ok(socket.id !== ids[0] && custom.id !== ids[1], "the sockets are new ones");
    for (const back of [socket, custom]) assert.deepEqual(await ack(back, "message-with-ack", "back"), ["back"]);
    socket.close();
    custom.close();
  }

  #settled(socket) {
    return until(`the transport is ${this.way.end}`, () => socket.io.engine.transport.name === this.way.end);
  }

  /** Cuts the connection of a client that goes through the proxy; resolves to the reason it tells when it is back. */
  async #lose(socket) {
    // The clients do not survive a loss in the midst of an upgrade: they neither poll any more nor notice.
    await this.#settled(socket);
    let reason;
    socket.once("disconnect", (why) => (reason = why));
    const back = new Promise((resolve) => socket.once("connect", resolve));
    // Between two polls there is no connection to cut.
    await until("the client notices that its connection is lost", () => {
      if (!reason) this.proxy.cut();
      return reason;
    });
    await soon("the client comes back", back);
    return reason;
  }
}

/** Resolves when the socket is connected; fails if it is refused. */
function connected(socket) {
  if (socket.connected) return Promise.resolve();
  const outcome = new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject).once("error", reject));
  return soon(`a client connects to ${socket.nsp}`, outcome);
}

/** An ack's arguments, all of them. */
function ack(socket, event, ...args) {
  return soon(`an answer to ${event}`, new Promise((resolve) => socket.emit(event, ...args, (...answer) => resolve(answer))));
}
