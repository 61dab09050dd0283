// The reference, with the events and flags of the example server `../server`: what a story means is settled here first, and a test of
// a defect must fail here.

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";

const { values: flags } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    path: { type: "string", default: "/socket.io" },
    "ping-interval": { type: "string", default: "25000" },
    "ping-timeout": { type: "string", default: "20000" },
    "connect-timeout": { type: "string", default: "45000" },
    "max-payload": { type: "string", default: "1000000" },
    "per-message-deflate": { type: "string" },
    parser: { type: "string", default: "json" },
    recovery: { type: "string" },
    "allow-eio3": { type: "boolean", default: false },
    // The reference has it always.
    jsonp: { type: "boolean", default: false },
    cookie: { type: "boolean", default: false },
    "api-key": { type: "string" },
    // It has nothing of the kind.
    "max-sessions-per-address": { type: "string" },
    drain: { type: "string" },
    bare: { type: "boolean", default: false },
    // Joins other nodes over this Redis, by one of its three ways.
    redis: { type: "string" },
    adapter: { type: "string", default: "classic" },
    // Which release of it, where the newest has lost a defect.
    engine: { type: "string", default: "engine.io" },
  },
});

const http = createServer();
let close = () => {};
/** What joins the nodes of a cluster. */
const adapters = {
  classic: createAdapter,
  sharded: createShardedAdapter,
  streams: (client) => createStreamsAdapter(client, { streamCount: 3 }),
};

const options = {
  path: flags.path,
  pingInterval: Number(flags["ping-interval"]),
  pingTimeout: Number(flags["ping-timeout"]),
  maxHttpBufferSize: Number(flags["max-payload"]),
  allowEIO3: flags["allow-eio3"],
  cookie: flags.cookie,
  ...(flags["per-message-deflate"] ? { perMessageDeflate: { threshold: Number(flags["per-message-deflate"]) } } : {}),
  ...(flags["api-key"] ? { allowRequest: (request, allow) => allow(null, request.headers["x-api-key"] === flags["api-key"]) } : {}),
};

if (flags.bare) {
  const { Server: EngineServer } = await import(flags.engine);
  const engine = new EngineServer(options);
  engine.attach(http, options);
  engine.on("connection", (session) => session.on("message", (message) => session.send(message)));
} else {
  const io = new Server(http, {
    ...options,
    ...(flags.redis ? { adapter: await adapter() } : {}),
    connectTimeout: Number(flags["connect-timeout"]),
    ...(flags.parser === "msgpack" ? { parser: msgpack } : {}),
    ...(flags.recovery ? { connectionStateRecovery: { maxDisconnectionDuration: Number(flags.recovery) } } : {}),
  });
  close = () => io.close();
  for (const namespace of [io.of("/"), io.of("/custom"), io.of(/^\/dynamic-\d+$/)]) {
    namespace.on("connection", (socket) => socket.emit("auth", socket.handshake.auth));
    serve(namespace);
  }
  // One that says nothing by itself.
  serve(io.of("/quiet"));
}

http.listen(Number(flags.port), "127.0.0.1", () => console.log(`listening http://127.0.0.1:${http.address().port}`));
process.on("SIGTERM", async () => {
  await close();
  process.exit(0);
});

async function adapter() {
  const [publisher, subscriber] = [createClient({ url: flags.redis }), createClient({ url: flags.redis })];
  await Promise.all([publisher.connect(), subscriber.connect()]);
  return adapters[flags.adapter](publisher, subscriber);
}

function serve(family) {
  family.use((socket, next) => {
    if ((socket.handshake.auth.token ?? socket.handshake.query.token) !== "wrong") return next();
    next(Object.assign(new Error("not authorized"), { data: { code: 401, hint: ["ask", null] } }));
  });
  family.on("connection", (socket) => {
    const namespace = socket.nsp;
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("plain", (...args) => socket.compress(false).emit("message-back", ...args));
    socket.on("message-with-ack", (...args) => args.pop()(...args));
    socket.on("ask", (question, ack) => socket.emit("question", question, ack));
    socket.on("join", (room, ack) => ack(socket.join(room)));
    socket.on("leave", (room, ack) => ack(socket.leave(room)));
    socket.on("say", (...args) => socket.to(args[0]).emit("say", ...args));
    socket.on("shout", (...args) => socket.broadcast.emit("shout", ...args));
    socket.on("announce", (...args) => namespace.emit("announce", ...args));
    socket.on("whisper", (...args) => namespace.volatile.emit("whisper", ...args));
    socket.on("tell the family", (...args) => family.emit("family", ...args));
    socket.on("ask everyone", (timeout, ack) => namespace.timeout(timeout).emit("anyone?", (error, answers) => ack({ complete: !error, answers })));
    socket.on("emit in order", () => {
      namespace.emit("ordered", 1);
      socket.emit("ordered", 2);
      namespace.to(socket.id).emit("ordered", 3);
      socket.emit("ordered", 4);
    });
    socket.on("join and tell", (room) => {
      namespace.in(socket.id).socketsJoin(room);
      namespace.to(room).emit("told", room);
    });
    socket.on("kick", () => socket.disconnect());
    socket.on("kick out", () => socket.disconnect(true));
  });
}
