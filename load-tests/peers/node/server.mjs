// The reference server with the applications that `fanfare-load` needs: what a client emits as `msg` goes to everybody (`fanout`), and
// `echo` is answered by an ack with its arguments (`echo`).
// PORT from the environment; prints its address and process id once it listens.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { serveClient: false, perMessageDeflate: false });
io.on("connection", (socket) => {
  socket.on("msg", (data) => io.emit("msg", data));
  socket.on("echo", (data, ack) => ack(data));
});

http.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`public http://127.0.0.1:${http.address().port}`);
  console.log(`pid ${process.pid}`);
});
process.on("SIGTERM", () => io.close(() => process.exit(0)));
