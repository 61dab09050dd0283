// Recoveries of connection state.

import { connectClient } from "../../testbed/clients.mjs";
import { Proxy } from "../../testbed/proxy.mjs";
import { until } from "../../testbed/wait.mjs";
import { Wire, within } from "../../testbed/wire.mjs";
import { expect, promise } from "../defects.mjs";

const RECOVERY = { recovery: 120_000 };

/** A client of a namespace that loses its connection while `meanwhile` runs; resolves to it when it is back. */
async function lose(server, namespace, before, meanwhile) {
  const proxy = await Proxy.start(server.port);
  const writer = connectClient(server.url + namespace, { transports: ["websocket"] });
  const hasty = { reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 10 };
  const reader = connectClient(proxy.url + namespace, { transports: ["websocket"], ...hasty });
  const seen = [];
  reader.on("announce", (value) => seen.push(value));
  try {
    await until("both are connected", () => reader.connected && writer.connected);
    await before(writer, reader);
    proxy.open(false);
    await until("the reader notices its loss", () => (proxy.cut(), !reader.connected));
    await meanwhile(writer);
    proxy.open();
    await until("the reader is back", () => reader.connected);
    await reader.timeout(10_000).emitWithAck("message-with-ack");
    return { recovered: reader.recovered, seen };
  } finally {
    reader.close();
    writer.close();
    proxy.stop();
  }
}

const announce = async (writer, ...values) => {
  for (const value of values) writer.emit("announce", value);
  await writer.timeout(10_000).emitWithAck("message-with-ack");
};

export const poisoned = promise("a volatile event costs no recovery", RECOVERY, async (server) => {
  const before = async (writer, reader) => {
    await announce(writer, 1);
    const whispered = new Promise((resolve) => reader.once("whisper", resolve));
    await until("a volatile event arrives", () => {
      writer.emit("whisper", "a string as the last argument");
      return Promise.race([whispered.then(() => true), new Promise((resolve) => setTimeout(resolve, 50, false))]);
    });
  };
  const { recovered, seen } = await lose(server, "/", before, (writer) => announce(writer, 2));
  expect(recovered && `${seen}` === "1,2", `recovered: ${recovered}, seen: ${seen}`);
});

export const quiet = promise("a client that has heard nothing recovers too", RECOVERY, async (server) => {
  const { recovered, seen } = await lose(server, "/quiet", () => {}, (writer) => announce(writer, 1, 2));
  expect(recovered && `${seen}` === "1,2", `recovered: ${recovered}, seen: ${seen}`);
});

/** What the stock client would give to recover the session of `wire`. */
async function credentials(wire) {
  wire.send('42["announce",1]');
  const event = JSON.parse((await wire.next(/^42\["announce"/)).slice(2));
  return { pid: wire.connect.pid, offset: event.at(-1) };
}

export const alive = promise("a session is recovered while its old connection seems alive", RECOVERY, async (server) => {
  const old = await Wire.join(server);
  const back = await Wire.join(server, await credentials(old));
  const same = back.connect.sid === old.connect.sid;
  const fenced = await within(3_000, () => old.ended);
  old.close();
  back.close();
  expect(same && fenced, `recovered: ${same}, the old connection is closed: ${fenced}`);
});

export const twice = promise("a session has one connection, however often it is recovered", RECOVERY, async (server) => {
  const old = await Wire.join(server);
  const given = await credentials(old);
  old.close();
  // Whether the server has noticed its end yet is another promise.
  let first;
  await until("the session is recovered", async () => {
    first?.close();
    first = await Wire.join(server, given);
    return first.connect.sid === old.connect.sid;
  });
  const second = await Wire.join(server, given);
  const same = second.connect.sid === first.connect.sid;
  const fenced = await within(3_000, () => first.ended);
  first.close();
  second.close();
  expect(!same || fenced, "two connections are the same socket");
});
