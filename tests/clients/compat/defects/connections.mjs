// Connections of Socket.IO: their state, their namespaces, and answers of many.

import { connectClient } from "../../testbed/clients.mjs";
import { until } from "../../testbed/wait.mjs";
import { Wire, within } from "../../testbed/wire.mjs";
import { expect, promise } from "../defects.mjs";

export const doubleConnect = promise("two CONNECT packets at once do not make two sockets", {}, async (server) => {
  const wire = await Wire.open(server);
  wire.send("40", "40");
  const answers = () => wire.received.filter((message) => message.startsWith("40{")).length;
  await until("the server has decided", () => wire.ended || answers() === 2);
  wire.close();
  expect(answers() < 2, "the client has two sockets in one namespace");
});

export const noAttachments = promise("a binary packet without attachments leaves nothing behind", {}, async (server) => {
  const wire = await Wire.join(server);
  wire.send('450-["message",1]', '42["message",2]');
  const alive = await wire.next(/^42\["message-back",2\]/).then(() => true, () => false);
  wire.close();
  expect(alive, "the next packet costs the connection");
});

export const namespaces = promise("the namespaces of a connection are bounded", {}, async (server) => {
  const count = 500;
  const wire = await Wire.join(server);
  for (let i = 0; i < count; i++) wire.send(`40/dynamic-${i},`);
  const answers = (type) => wire.received.filter((message) => message.startsWith(`${type}/dynamic-`)).length;
  await until("every CONNECT is answered", () => answers("40") + answers("44") === count || wire.ended);
  wire.close();
  expect(answers("40") < count, `one connection has ${count} namespaces`);
});

export const connectTimeout = promise("a connection that has left its last namespace ends", { "connect-timeout": 500 }, async (server) => {
  const wire = await Wire.join(server);
  wire.send("41");
  expect(await within(3_000, () => wire.ended), "it stays for nothing");
});

export const acksOfMany = promise("who leaves is not waited for when many are asked", {}, async (server) => {
  const clients = Array.from({ length: 3 }, () => connectClient(server.url, { transports: ["websocket"] }));
  const [asking, answering, leaving] = clients;
  await until("all are connected", () => clients.every((client) => client.connected));
  for (const client of [asking, answering]) client.on("anyone?", (answer) => answer(client.id));
  leaving.on("anyone?", () => leaving.disconnect());
  const begun = performance.now();
  const timeout = 4_000;
  const { answers } = await asking.timeout(2 * timeout).emitWithAck("ask everyone", timeout);
  const took = performance.now() - begun;
  for (const client of clients) client.close();
  if (new Set(answers).size !== 2) throw new Error(`two answers were expected: ${JSON.stringify(answers)}`);
  expect(took < timeout / 2, `it took ${Math.round(took)} ms of ${timeout}`);
});

export const shutdown = promise("a shutdown sends the clients away over a while, not all at once", { drain: 1_000 }, async (server) => {
  const clients = Array.from({ length: 100 }, () => connectClient(server.url, { transports: ["websocket"] }));
  await until("all are connected", () => clients.every((client) => client.connected));
  const gone = [];
  for (const client of clients) client.once("disconnect", (reason) => gone.push({ at: performance.now(), reason }));
  server.terminate();
  await until("all are sent away", () => gone.length === clients.length);
  for (const client of clients) client.close();
  const reasons = new Set(gone.map(({ reason }) => reason));
  if (reasons.size !== 1 || !reasons.has("transport close")) throw new Error(`they would not come back: ${[...reasons]}`);
  const spread = gone.at(-1).at - gone[0].at;
  expect(spread > 400, `all within ${Math.round(spread)} ms`);
});

export const addresses = promise("one address has a bounded number of connections", { "max-sessions-per-address": 5 }, async (server) => {
  const clients = Array.from({ length: 8 }, () => connectClient(server.url, { transports: ["websocket"] }));
  let refused = 0;
  for (const client of clients) client.on("connect_error", () => (refused += 1));
  await until("every client is connected or refused", () => clients.filter((client) => client.connected).length + refused === clients.length);
  for (const client of clients) client.close();
  expect(refused === 3, `${refused} of 8 are refused`);
});

export const upgrades = promise("who may come in is asked about upgrades too", { "api-key": "open sesame" }, async (server) => {
  const url = `${server.url}/socket.io/?EIO=4&transport=polling`;
  const open = (headers) => fetch(url, { headers });
  if ((await open({})).status !== 403) throw new Error("not even a handshake is asked about");
  const { sid } = JSON.parse((await (await open({ "x-api-key": "open sesame" })).text()).slice(1));
  const upgraded = await Wire.open(server, { sid }).then((wire) => (wire.close(), true), () => false);
  expect(!upgraded, "an upgrade without the key is let in");
});
