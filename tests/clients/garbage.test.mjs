// Clients that send garbage get the answer or the close that the reference server gives; nobody else notices.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { fence, record } from "./testbed/clients.mjs";
import { Cluster } from "./testbed/cluster.mjs";
import { BINARY, RawPolling, RawWebSocket, TEXT, frame } from "./testbed/raw.mjs";
import { until } from "./testbed/wait.mjs";

const OVERSIZED = 1_000_001;

let cluster, bystanders, heard;

before(async () => {
  cluster = await Cluster.start({ nodes: 1 });
  bystanders = [await cluster.connect(0), await cluster.connect(0, { transports: ["polling"] })];
  heard = bystanders.map((socket) => record(socket, "shout"));
});

// After each of the inputs, those who behaved are there and are served.
afterEach(async () => {
  cluster.assertAlive();
  assert.ok(bystanders.every((socket) => socket.connected));
  await fence(bystanders[0], bystanders);
  await fence(bystanders[1], bystanders);
  assert.deepEqual(heard, [[], []]);
});

after(() => cluster?.stop());

/** What ends a session wherever it is sent: each a list of messages, text or bytes. */
const fatal = {
  "an unknown type of an Engine.IO packet": ["9"],
  "an empty packet": [""],
  "a ping, which only the server sends": ["2"],
  "an unknown type of a Socket.IO packet": ["49"],
  "an event that is no JSON": ["42[not json"],
  "an event that is no array": ['42{"shout":1}'],
  "an event without a name": ["42[{}]"],
  "an event of a reserved name": ['42["connect"]'],
  "an event in a namespace that was not joined": ['42/chat,["announce",1]'],
  "a second CONNECT": ["40"],
  "more attachments than allowed": ['451000000000-["shout",{"_placeholder":true,"num":0}]'],
  "a number of attachments that is none": ['45x-["shout"]'],
  "text where an attachment is due": ['451-["shout",{"_placeholder":true,"num":0}]', '42["shout",1]'],
  "a placeholder without attachment": ['451-["shout",{"_placeholder":true,"num":7}]', Buffer.from([1])],
  "bytes that nobody announced": [Buffer.from([1, 2, 3])],
  "brackets without end": [`42["shout",${"[".repeat(100_000)}`],
};

for (const [name, messages] of Object.entries(fatal)) {
  test(`${name}, over polling, ends the session`, async () => {
    const session = await RawPolling.open(cluster.nodes[0]);
    const body = messages.map((message) => (typeof message === "string" ? message : `b${message.toString("base64")}`)).join("\x1e");
    await session.post(body);
    await until("the session is unknown", async () => {
      const { status, body } = await session.get();
      return status === 400 && JSON.parse(body).code === 1;
    });
  });

  test(`${name}, over WebSocket, closes the connection`, async () => {
    const client = await RawWebSocket.open(cluster.nodes[0]);
    for (const message of messages) client.send(typeof message === "string" ? frame(TEXT, message) : frame(BINARY, message));
    assert.equal(await client.closeCode(), 1005);
  });
}

test("a body that is too large is refused with 413", async () => {
  const session = await RawPolling.open(cluster.nodes[0]);
  assert.equal((await session.post("4".repeat(OVERSIZED))).status, 413);
});

const frames = {
  "a message that is too large": [frame(TEXT, "", { claim: OVERSIZED }), 1009],
  "text that is not UTF-8": [frame(TEXT, [0x34, 0xff, 0xfe]), 1007],
  "a frame that is not masked": [frame(TEXT, "3", { masked: false }), 1002],
  "an unknown opcode": [frame(3, "3"), 1002],
  "a continuation of nothing": [frame(0, "3"), 1002],
};

for (const [name, [bytes, code]] of Object.entries(frames)) {
  test(`${name} closes the WebSocket with ${code}`, async () => {
    const client = await RawWebSocket.open(cluster.nodes[0]);
    client.send(bytes);
    assert.equal(await client.closeCode(), code);
  });
}

test("a frame that is cut off, and an attachment that never comes, end with their connection", async () => {
  const cut = await RawWebSocket.open(cluster.nodes[0]);
  cut.send(frame(TEXT, '42["shout","not all of it', { claim: 5_000 }));
  await cut.end();
  const waiting = await RawWebSocket.open(cluster.nodes[0]);
  waiting.send(frame(TEXT, '451-["shout",{"_placeholder":true,"num":0}]'));
  await waiting.end();
});

const refused = [
  ["an unknown transport", "?EIO=4&transport=carrier-pigeon", {}, 400, { code: 0, message: "Transport unknown" }],
  ["an unknown session", "?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", {}, 400, { code: 1, message: "Session ID unknown" }],
  ["a handshake by POST", "?EIO=4&transport=polling", { method: "POST", body: "40" }, 400, { code: 2, message: "Bad handshake method" }],
  ["a WebSocket without upgrade", "?EIO=4&transport=websocket", {}, 400, { code: 3, message: "Bad request" }],
  ["another protocol version", "?EIO=9&transport=polling", {}, 400, { code: 5, message: "Unsupported protocol version" }],
];

for (const [name, query, options, status, body] of refused) {
  test(`${name} is refused with code ${body.code}`, async () => {
    const answer = await fetch(`${cluster.nodes[0].url}/socket.io/${query}`, options);
    assert.equal(answer.status, status);
    assert.equal(await answer.text(), JSON.stringify(body));
  });
}
