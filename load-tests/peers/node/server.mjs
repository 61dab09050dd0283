// The reference server as a peer: the application that all peers share. `pub` goes to everybody as `msg`, `pubroom` to a room, `join`
// joins one, `echo` is answered by an ack with its argument. (`msg` does what `pub` does, for runs whose publishers hear themselves.)
// PORT, for a cluster REDIS (a URL), and DEFLATE (the bytes from which on messages are compressed) from the environment; prints its address and process id once it listens.
import { createServer } from "node:http";
import { Server } from "socket.io";

if (process.env.NATS) {
  console.error("NATS is set, and the reference has no adapter of its own for it");
  process.exit(1);
}

const http = createServer();
const perMessageDeflate = process.env.DEFLATE ? { threshold: Number(process.env.DEFLATE) } : false;
const io = new Server(http, { serveClient: false, perMessageDeflate });
if (process.env.REDIS) {
  const { createAdapter } = await import("@socket.io/redis-adapter");
  const { createClient } = await import("redis");
  const publisher = createClient({ url: process.env.REDIS });
  const clients = [publisher, publisher.duplicate()];
  for (const client of clients) client.on("error", (error) => console.error(`redis: ${error.message}`));
  await Promise.all(clients.map((client) => client.connect()));
  io.adapter(createAdapter(...clients));
}

// As its documentation advises, to save memory: else the request of each session is kept.
io.engine.on("connection", (connection) => (connection.request = null));
io.on("connection", (socket) => {
  for (const event of ["pub", "msg"]) socket.on(event, (data) => io.emit("msg", data));
  socket.on("pubroom", (room, data) => io.to(room).emit("msg", data));
  socket.on("join", async (room, ack) => {
    await socket.join(room);
    ack?.();
  });
  socket.on("echo", (data, ack) => ack(data));
});

http.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`public http://127.0.0.1:${http.address().port}`);
  console.log(`pid ${process.pid}`);
});
process.on("SIGTERM", () => io.close(() => process.exit(0)));
