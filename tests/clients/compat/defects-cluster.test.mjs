// Defects of the reference that take two nodes over Redis: each check must pass on fanfare and find the defect on the reference, which is
// given the adapter that has it. The others are in `defects.test.mjs`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { redis } from "../testbed/backends.mjs";
import { connectClient, record } from "../testbed/clients.mjs";
import { Server } from "../testbed/server.mjs";
import { until } from "../testbed/wait.mjs";
import { within } from "../testbed/wire.mjs";
import { Defect, expect } from "./defects.mjs";

const checks = [
  {
    title: "what one handler emits arrives in its order, direct or broadcast",
    adapter: "sharded",
    async check([client]) {
      const heard = record(client, "ordered");
      client.emit("emit in order");
      await until("all four arrive", () => heard.length === 4);
      expect(`${heard.flat()}` === "1,2,3,4", `the order is ${heard.flat()}`);
    },
  },
  {
    title: "a room has whom it was told to take before",
    adapter: "classic",
    async check([client]) {
      const heard = record(client, "told");
      client.emit("join and tell", "a room");
      expect(await within(2_000, () => heard.length), "the event is lost");
    },
  },
  {
    title: "a subscriber that is no node delays no answer",
    adapter: "classic",
    async check([asking, other], backend) {
      for (const client of [asking, other]) client.on("anyone?", (answer) => answer(client.id));
      // A node that hears another one need not be known to it yet.
      const ask = () => asking.timeout(10_000).emitWithAck("ask everyone", 3_000);
      await until("both nodes are asked", async () => (await ask()).answers.length === 2);
      const ghost = connect(backend.port, "127.0.0.1");
      ghost.write("PSUBSCRIBE *\r\nSUBSCRIBE socket.io-request#/#\r\n");
      await once(ghost, "data");
      const begun = performance.now();
      const { answers } = await ask();
      const took = performance.now() - begun;
      ghost.destroy();
      // The reference has them all, too, when it has waited for who will never answer.
      const ids = [asking.id, other.id].sort();
      if (`${[...answers].sort()}` !== `${ids}`) throw new Error(`both answers were expected: ${JSON.stringify(answers)}`);
      expect(took < 1_500, `it took ${Math.round(took)} ms of 3000`);
    },
  },
  {
    title: "a broadcast reaches other nodes in a namespace of any name",
    adapter: "streams",
    async check(_, __, servers) {
      const names = Array.from({ length: 20 }, (_, n) => `/dynamic-${n ** 5}`);
      const clients = servers.map(({ url }) => names.map((name) => connectClient(url + name, { transports: ["websocket"] })));
      try {
        await until("all are connected", () => clients.flat().every((client) => client.connected));
        const heard = clients[1].map((client) => record(client, "announce"));
        const missing = () => names.filter((_, i) => heard[i].length === 0);
        // A node may hear of a namespace of another one a little later.
        await within(3_000, () => (clients[0].forEach((client) => client.emit("announce", 1)), missing().length === 0));
        expect(missing().length === 0, `nothing arrives in ${missing()}`);
      } finally {
        for (const client of clients.flat()) client.close();
      }
    },
  },
];

describe("defects of the reference between nodes", () => {
  let backend;
  before(async () => (backend = await redis()));
  after(() => backend?.stop());

  async function run(target, { adapter, check }) {
    const url = `redis://127.0.0.1:${backend.port}`;
    const flags = target === "reference" ? { redis: url, adapter } : { redis: url };
    const servers = await Promise.all([Server.start(target, flags), Server.start(target, flags)]);
    const clients = servers.map((server) => connectClient(server.url, { transports: ["websocket"] }));
    try {
      await until("both clients are connected", () => clients.every((client) => client.connected));
      const heard = record(clients[1], "announce");
      await until("the nodes hear each other", () => (clients[0].emit("announce", "hello"), heard.length), { every: 50 });
      await check(clients, backend, servers);
      for (const server of servers) server.assertAlive();
    } finally {
      for (const client of clients) client.close();
      await Promise.all(servers.map((server) => server.stop()));
    }
  }

  for (const check of checks) {
    test(check.title, () => run("fanfare", check));
    test(`control: the reference does not promise that ${check.title}`, () => assert.rejects(run("reference", check), Defect));
  }
});
