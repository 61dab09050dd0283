// permessage-deflate: stock clients agree on it and save bytes, everybody gets the same, and what does not expand as it should ends its sender.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { constants, deflateRawSync } from "node:zlib";
import io2 from "sio2";
import { redis } from "./testbed/backends.mjs";
import { launchBrowser } from "./testbed/browser.mjs";
import { connectClient, record } from "./testbed/clients.mjs";
import { Cluster } from "./testbed/cluster.mjs";
import { BINARY, RawWebSocket, TEXT, frame } from "./testbed/raw.mjs";
import { Server } from "./testbed/server.mjs";
import { soon, until } from "./testbed/wait.mjs";

const MAX = 2_000_000;
const WEBSOCKET = { transports: ["websocket"] };
const OFFER = "permessage-deflate; client_max_window_bits";
const ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const environment = {
  FANFARE_SERVER__PER_MESSAGE_DEFLATE: "1024",
  FANFARE_ENGINE__ALLOW_EIO3: "true",
  FANFARE_ENGINE__MAX_HTTP_BUFFER_SIZE: `${MAX}`,
};

let cluster;

before(async () => {
  cluster = await Cluster.start({ nodes: 1, environment });
});

after(() => cluster?.stop());

/** Some 20 kB that take a tenth of it when they are compressed. */
const text = (seed) => Array.from({ length: 400 }, (_, line) => `${seed} line ${line}, with something to gain from it\n`).join("");
const picture = (seed) => Buffer.from(text(seed));

/** The bytes that a client's connection has taken and given. */
function traffic(client) {
  const { bytesRead, bytesWritten } = client.io.engine.transport.ws._socket;
  return { read: bytesRead, written: bytesWritten };
}

/** What `act` costs on a client's connection. */
async function cost(client, act) {
  const before = traffic(client);
  await act();
  const { read, written } = traffic(client);
  return { read: read - before.read, written: written - before.written };
}

const echo = (client, ...args) => soon("an echo", new Promise((resolve) => client.emit("echo", ...args, (...answer) => resolve(answer))));

test("a stock client agrees on it; texts and attachments arrive whole both ways, in far fewer bytes", async () => {
  const client = await cluster.connect(0, WEBSOCKET);
  assert.equal(client.io.engine.transport.ws.extensions, "permessage-deflate");
  const [said, shown] = [text("one"), picture("two")];
  let answer;
  const { read, written } = await cost(client, async () => (answer = await echo(client, said, shown, { deep: [shown, "x"] })));
  assert.deepEqual(answer, [said, shown, { deep: [shown, "x"] }]);
  const whole = said.length + 2 * shown.length;
  assert.ok(read < whole / 4 && written < whole / 4, JSON.stringify({ read, written, whole }));
});

test("what is shorter than the threshold goes as it is", async () => {
  const client = await cluster.connect(0, WEBSOCKET);
  const short = "a".repeat(900);
  const { read, written } = await cost(client, () => echo(client, short));
  assert.ok(read > short.length && written > short.length, JSON.stringify({ read, written }));
});

test("a client that offers nothing gets nothing, nor one that asks for a window of its own, and both are served", async () => {
  const client = await cluster.connect(0, { ...WEBSOCKET, perMessageDeflate: false });
  assert.equal(client.io.engine.transport.ws.extensions, "");
  const { read } = await cost(client, () => echo(client, text("plain")));
  assert.ok(read > text("plain").length);
  for (const [extensions, answer] of [
    [[OFFER], ANSWER],
    [["permessage-deflate; server_max_window_bits=10"], undefined],
    [["permessage-deflate; server_max_window_bits=10", `x-other, ${OFFER}`], ANSWER],
    [["permessage-deflate; server_max_window_bits=15"], `${ANSWER}; server_max_window_bits=15`],
    [["permessage-deflate; unknown"], undefined],
  ]) {
    const raw = await RawWebSocket.open(cluster.nodes[0], { extensions });
    assert.equal(raw.extensions, answer, extensions.join());
    await raw.end();
  }
});

test("without the key no offer is taken", async () => {
  const plain = await Cluster.start({ nodes: 1 });
  try {
    const raw = await RawWebSocket.open(plain.nodes[0], { extensions: [OFFER] });
    assert.equal(raw.extensions, undefined);
    await raw.end();
    const client = await plain.connect(0, WEBSOCKET);
    assert.equal(client.io.engine.transport.ws.extensions, "");
  } finally {
    await plain.stop();
  }
});

test("all kinds of clients in one room get the same, and each message is compressed once for all of them", async () => {
  const ROOM = "room-deflate";
  const EACH = 5;
  const node = cluster.nodes[0];
  const clients = [];
  for (let number = 0; number < EACH; number += 1) {
    clients.push(await cluster.connect(0, WEBSOCKET));
    clients.push(await cluster.connect(0, { ...WEBSOCKET, perMessageDeflate: false }));
    clients.push(await cluster.connect(0, { transports: ["polling"] }));
    const upgrading = await cluster.connect(0, { transports: ["polling", "websocket"] });
    await until("a client upgrades", () => upgrading.io.engine.transport.name === "websocket");
    assert.equal(upgrading.io.engine.transport.ws.extensions, "permessage-deflate");
    clients.push(upgrading);
    const old = io2(node.url, { ...WEBSOCKET, forceNew: true, reconnection: false });
    await soon("a client of Socket.IO 2 connects", new Promise((resolve) => old.once("connect", resolve)));
    assert.equal(old.io.engine.transport.ws.extensions, "permessage-deflate");
    clients.push(old);
  }
  try {
    // The broker answers a join with nothing: who hears the first message is in.
    const heard = clients.map((client) => record(client, "say"));
    for (const client of clients) client.emit("join", ROOM);
    const speaker = await cluster.connect(0, { ...WEBSOCKET, perMessageDeflate: false });
    await until("everybody is in the room", () => {
      speaker.emit("say", ROOM, "in?");
      return heard.every((list) => list.length > 0);
    }, { every: 50 });
    const compressed = await node.metric("fanfare_messages_deflated_total");
    const messages = [[ROOM, text("a")], [ROOM, "short"], [ROOM, picture("b"), "and", picture("c")], [ROOM, { deep: [text("d")] }]];
    for (const message of messages) speaker.emit("say", ...message);
    const own = (list) => list.filter(([, said]) => said !== "in?");
    await until("everybody has all messages", () => heard.every((list) => own(list).length === messages.length));
    for (const list of heard) assert.deepEqual(own(list), messages);
    // That with attachments twice: they look otherwise to Engine.IO 3.
    assert.equal((await node.metric("fanfare_messages_deflated_total")) - compressed, 4);
  } finally {
    for (const client of clients) client.disconnect();
  }
});

// As the reference documents it; its release 4.8.4 compresses whatever the application says, and whatever is shorter than the threshold.
test("what the application says is not to be compressed is not", async () => {
  const server = await Server.start("fanfare", { "per-message-deflate": 1024 });
  const client = connectClient(server.url, WEBSOCKET);
  try {
    await soon("a client connects", new Promise((resolve) => client.once("connect", resolve)));
    const ask = (event) => soon("an answer", new Promise((resolve) => client.once("message-back", resolve).emit(event, text("x"))));
    let answer;
    const packed = await cost(client, async () => (answer = await ask("message")));
    assert.equal(answer, text("x"));
    assert.ok(packed.read < answer.length / 4, JSON.stringify(packed));
    const plain = await cost(client, async () => (answer = await ask("plain")));
    assert.equal(answer, text("x"));
    assert.ok(plain.read > answer.length, JSON.stringify(plain));
  } finally {
    client.disconnect();
    await server.stop();
  }
});

test("a WebSocket that another node carries is compressed from end to end", async () => {
  const backend = await redis();
  const balanced = await Cluster.start({ backend, nodes: 2, balanced: "round robin", transports: ["polling", "websocket"], environment });
  try {
    const clients = await Promise.all(Array.from({ length: 8 }, () => balanced.connect()));
    await until("all have upgraded", () => clients.every((client) => client.io.engine.transport.name === "websocket"));
    const carried = await Promise.all(balanced.nodes.map((node) => node.metric("fanfare_forwarded_upgrades")));
    assert.ok(carried[0] + carried[1] > 0, JSON.stringify(carried));
    for (const client of clients) {
      assert.equal(client.io.engine.transport.ws.extensions, "permessage-deflate");
      const said = text("carried");
      const { read, written } = await cost(client, async () => assert.deepEqual(await echo(client, said), [said]));
      assert.ok(read < said.length / 4 && written < said.length / 4, JSON.stringify({ read, written }));
    }
  } finally {
    await balanced.stop();
    await backend.stop();
  }
});

test("Chromium agrees on it, and texts and attachments arrive whole both ways", async () => {
  const node = cluster.nodes[0];
  const browser = await launchBrowser();
  try {
    const tab = await browser.newPage();
    await tab.goto(`${node.url}/socket.io/socket.io.js`);
    await tab.addScriptTag({ url: "/socket.io/socket.io.js" });
    const compressed = await node.metric("fanfare_messages_deflated_total");
    const echoed = tab.evaluate(
      ([said, bytes]) =>
        new Promise((resolve, reject) => {
          const socket = globalThis.io({ transports: ["websocket"] });
          socket.on("connect_error", reject);
          socket.emit("echo", said, new Uint8Array(bytes), (text, shown) => {
            resolve({ extensions: socket.io.engine.transport.ws.extensions, text, shown: Array.from(new Uint8Array(shown)) });
          });
        }),
      [text("browser"), [...picture("browser")]],
    );
    const { extensions, text: answered, shown } = await soon("an echo in Chromium", echoed);
    assert.equal(extensions, ANSWER);
    assert.equal(answered, text("browser"));
    assert.deepEqual(Buffer.from(shown), picture("browser"));
    assert.equal((await node.metric("fanfare_messages_deflated_total")) - compressed, 1);
  } finally {
    await browser.close();
  }
});

/** What a sender makes of a message. */
function deflated(message) {
  const packed = deflateRawSync(message, { finishFlush: constants.Z_SYNC_FLUSH });
  assert.deepEqual(packed.subarray(-4), Buffer.from([0, 0, 0xff, 0xff]));
  return packed.subarray(0, -4);
}

test("1 GiB of zeros in 1 MB ends its sender, and takes no more memory than the largest message; others are served", async () => {
  const node = cluster.nodes[0];
  const bystander = await cluster.connect(0, WEBSOCKET);
  const mebibyte = deflateRawSync(Buffer.alloc(1 << 20), { finishFlush: constants.Z_SYNC_FLUSH });
  const bomb = Buffer.concat([...Array.from({ length: 1023 }, () => mebibyte), deflated(Buffer.alloc(1 << 20))]);
  assert.ok(bomb.length < MAX, `${bomb.length}`);
  const throwBomb = async () => {
    const client = await RawWebSocket.open(node, { extensions: [OFFER] });
    client.send(frame(BINARY, bomb, { compressed: true }));
    assert.equal(await client.closeCode(), 1009);
  };
  // What a thread keeps it has from the first on.
  await Promise.all([throwBomb(), throwBomb()]);
  const before = node.memory();
  let highest = before;
  const watch = setInterval(() => (highest = Math.max(highest, node.memory())), 1);
  try {
    for (let round = 0; round < 5; round += 1) await Promise.all([throwBomb(), throwBomb(), throwBomb(), throwBomb(), echo(bystander, text("served"))]);
  } finally {
    clearInterval(watch);
  }
  // Of each that is under way what has come of it and what it is expanded to; buffers double when they grow.
  assert.ok(highest - before < 4 * 4 * MAX, `${before} bytes before, ${highest} at most`);
  assert.ok(bystander.connected);
  cluster.assertAlive();
});

const broken = {
  "garbage": [frame(TEXT, Buffer.alloc(100, "garbage"), { compressed: true }), 1007],
  "a message that is cut off": [frame(TEXT, deflated(Buffer.from(`42["shout","${text("cut")}"]`)).subarray(0, 500), { compressed: true }), 1007],
  "compressed text that is not UTF-8": [frame(TEXT, deflated(Buffer.from([0x34, 0xff, 0xfe])), { compressed: true }), 1007],
  "a compressed continuation": [Buffer.concat([frame(TEXT, "4", { final: false }), frame(0, deflated("2"), { compressed: true })]), 1002],
  "a compressed ping": [frame(9, deflated("ping"), { compressed: true }), 1002],
};

for (const [name, [bytes, code]] of Object.entries(broken)) {
  test(`${name} closes the WebSocket with ${code}`, async () => {
    const client = await RawWebSocket.open(cluster.nodes[0], { extensions: [OFFER] });
    client.send(bytes);
    assert.equal(await client.closeCode(), code);
    cluster.assertAlive();
  });
}

test("a compressed frame on a connection without agreement closes it with 1002", async () => {
  const client = await RawWebSocket.open(cluster.nodes[0]);
  client.send(frame(TEXT, deflated("42"), { compressed: true }));
  assert.equal(await client.closeCode(), 1002);
});
