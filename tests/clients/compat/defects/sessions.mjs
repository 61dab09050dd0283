// Sessions of Engine.IO: heartbeats, refusals, slow consumers.

import { connect } from "node:net";
import { connectClient } from "../../testbed/clients.mjs";
import { until } from "../../testbed/wait.mjs";
import { Wire, within } from "../../testbed/wire.mjs";
import { expect, promise } from "../defects.mjs";

/** Opens a polling session by hand. */
async function poll(server) {
  const url = `${server.url}/socket.io/?EIO=4&transport=polling`;
  const answer = await fetch(url);
  const { sid } = JSON.parse((await answer.text()).slice(1));
  const get = async () => (await fetch(`${url}&sid=${sid}`)).text();
  const post = (body) => fetch(`${url}&sid=${sid}`, { method: "POST", body, headers: { "content-type": "text/plain" } });
  return { sid, get, post };
}

export const zombie = promise("a session that upgrades while it owes a pong times out all the same", { "ping-interval": 300, "ping-timeout": 1_000 }, async (server) => {
  const { sid, get } = await poll(server);
  const ping = await get();
  if (ping !== "2") throw new Error(`a ping was expected, not ${ping}`);
  const wire = await Wire.open(server, { sid });
  wire.send("2probe");
  await wire.next(/^3probe/);
  wire.send("5");
  expect(await within(4_000, () => wire.ended), "the session outlives its ping timeout several times");
});

/** The first line of the answer to an upgrade with that query. */
function upgrade(server, query) {
  return new Promise((resolve, reject) => {
    let head = "";
    const socket = connect(server.port, "127.0.0.1", () =>
      socket.write(
        `GET /socket.io/?${query} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
      ),
    );
    socket.setTimeout(5_000, () => socket.destroy(new Error("no answer to an upgrade")));
    socket.on("error", reject);
    socket.on("data", (data) => {
      head += data.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      socket.destroy();
      resolve(head.slice(0, head.indexOf("\r\n\r\n")));
    });
  });
}

export const version = promise("a WebSocket of an unsupported version is refused before it is accepted", {}, async (server) => {
  const head = await upgrade(server, "EIO=9&transport=websocket");
  expect(head.startsWith("HTTP/1.1 400"), `the answer is ${head.split("\r\n")[0]}`);
});

export const cookie = promise("a session that begins as a WebSocket gets the cookie too", { cookie: true }, async (server) => {
  const polling = await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`);
  if (!polling.headers.has("set-cookie")) throw new Error("not even over polling");
  const head = await upgrade(server, "EIO=4&transport=websocket");
  expect(/^set-cookie:/im.test(head), "the answer has no Set-Cookie");
});

export const tooLarge = promise("a session whose body is too large is over", { bare: true, "max-payload": 1_000 }, async (server) => {
  const { get, post } = await poll(server);
  const { status } = await post(`4${"x".repeat(2_000)}`);
  if (status !== 413) throw new Error(`the status is ${status}`);
  // A session that goes on would park the poll, or answer it.
  const answer = await Promise.race([get(), new Promise((resolve) => setTimeout(resolve, 1_000, "parked"))]);
  expect(answer.includes('"code":1'), `the session goes on: ${answer}`);
}, { engine: "engine.io-6.6.9" });

export const slowConsumer = promise("what waits for a client that does not read is bounded", {}, async (server) => {
  const [megabyte, count] = ["x".repeat(900_000), 40];
  const writer = connectClient(server.url, { transports: ["websocket"] });
  await until("the writer is connected", () => writer.connected);
  const slow = await Wire.join(server);
  slow.pause();
  for (let i = 0; i < count; i++) writer.emit("shout", i, megabyte);
  await writer.timeout(30_000).emitWithAck("message-with-ack");
  slow.resume();
  const heard = () => slow.received.filter((message) => message.startsWith('42["shout"')).length;
  await until("the slow client has all, or is cut", () => slow.ended || heard() === count, { within: 30_000 });
  slow.close();
  writer.close();
  expect(heard() < count, `${count} MB waited for one client`);
});
