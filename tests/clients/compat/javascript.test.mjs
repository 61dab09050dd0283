// The JavaScript clients of all generations, over every transport and with every parser they have.
// `TARGET=reference` tells the story to the reference: the control.

import { after, before, describe, test } from "node:test";
import io1 from "sio1";
import io2 from "sio2";
import { io as io3 } from "sio3";
import { io as io4 } from "socket.io-client";
import msgpack from "socket.io-msgpack-parser";
import { Server } from "../testbed/server.mjs";
import { Generation, Story, ways } from "./story.mjs";

const target = process.env.TARGET ?? "fanfare";

// Over polling the clients of 1.x encode text as UTF-8 twice, which no server can tell from text that looks so.
const generations = [
  { generation: new Generation("socket.io-client 4.8.4", 4, io4), parsers: { json: undefined, msgpack } },
  { generation: new Generation("socket.io-client 3.1.3", 4, io3), parsers: { json: undefined, msgpack } },
  { generation: new Generation("socket.io-client 2.5.0", 3, io2), parsers: { json: undefined } },
  { generation: new Generation("socket.io-client 1.7.4", 3, io1, { asciiPolling: true }), parsers: { json: undefined } },
];

for (const { generation, parsers } of generations) {
  for (const [name, parser] of Object.entries(parsers)) {
    describe(`${generation.name} with the ${name} parser`, { concurrency: true }, () => {
      let server;
      before(async () => (server = await Server.start(target, { parser: parser && name, "allow-eio3": generation.old })));
      after(() => server?.stop());

      for (const [title, way] of Object.entries(ways)) {
        test(title, () => Story.tell({ generation, server, way, parser }));
      }
    });
  }
}
