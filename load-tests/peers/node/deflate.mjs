// What permessage-deflate costs a server, and what it saves: a fan-out to WebSockets that agreed on it, and to the same that did not, served
// by `fanfare serve` and by the reference. For each a line: microseconds of the server's CPU and bytes on the wire for each delivered message.
//
//   node load-tests/peers/node/deflate.mjs [--fanfare target/release/fanfare] [--clients 200] [--size 4096] [--rate 8] [--seconds 6]
//
// The server's CPU is read from /proc; the receivers, which are in this process, and the bytes that they read do not depend on it.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import WebSocket from "ws";

const { values: flags } = parseArgs({
  options: {
    fanfare: { type: "string", default: "target/release/fanfare" },
    clients: { type: "string", default: "200" },
    size: { type: "string", default: "4096" },
    rate: { type: "string", default: "8" },
    seconds: { type: "string", default: "6" },
  },
});
const [clients, size, rate, seconds] = [flags.clients, flags.size, flags.rate, flags.seconds].map(Number);

/** From how many bytes on both compress. */
const THRESHOLD = 1024;
/** Messages that differ, of which one after the other is sent. */
const DIFFERENT = 64;
const WARM_UP = 2_000;

const directory = mkdtempSync(join(tmpdir(), "fanfare-deflate-"));
const rules = join(directory, "fanfare.toml");
writeFileSync(rules, '[[namespace]]\nname = "/"\nrule = [{ event = "msg", action = "emit" }]\n');
const peer = fileURLToPath(new URL("server.mjs", import.meta.url));

const servers = {
  fanfare: (deflate) => {
    const environment = { FANFARE_SERVER__LISTEN: "127.0.0.1:0", FANFARE_INTERNAL__LISTEN: "127.0.0.1:0", ...(deflate && { FANFARE_SERVER__PER_MESSAGE_DEFLATE: `${THRESHOLD}` }) };
    return spawn(flags.fanfare, ["serve", "--config", rules], { env: { ...process.env, ...environment } });
  },
  reference: (deflate) => spawn(process.execPath, [peer], { env: { ...process.env, NODE_ENV: "production", ...(deflate && { DEFLATE: `${THRESHOLD}` }) } }),
};

/** Where a server listens, once it says so. */
function address(server) {
  return new Promise((resolve, reject) => {
    server.once("error", reject).once("exit", (code) => reject(new Error(`a server ended with ${code} before it listened`)));
    createInterface({ input: server.stdout }).on("line", (line) => {
      const told = /^public (http:\S+)/.exec(line);
      if (told) resolve(told[1]);
    });
    server.stderr.resume();
  });
}

/** JSON of about so many bytes, as an application might send it: the names repeat, most of the values do not. */
function message(number) {
  let state = number + 1;
  const random = (below) => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 1) % below;
  const orders = [];
  while (JSON.stringify(orders).length < size - 80) {
    orders.push({ id: random(1_000_000), user: `user-${random(5_000)}`, price: random(100_000) / 100, side: random(2) ? "buy" : "sell", active: true });
  }
  return `42["msg",${JSON.stringify({ number, orders })}]`;
}

/** Microseconds of CPU that the threads of a process have used, which the scheduler counts finer than the clock. */
function cpu(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.reduce((sum, thread) => sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1000, 0);
}

/** A client that has joined `/` and counts the events that it gets. */
function receiver(url, deflate, count) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: deflate });
    socket.once("error", reject);
    socket.on("message", (data) => {
      const text = data.toString();
      if (text.startsWith("42")) return count();
      if (text === "2") return socket.send("3");
      if (text.startsWith("0")) return socket.send("40");
      if (!text.startsWith("40")) return reject(new Error(`unexpected: ${text.slice(0, 80)}`));
      if (deflate !== (socket.extensions === "permessage-deflate")) return reject(new Error(`compression: ${socket.extensions}`));
      return resolve(socket);
    });
  });
}

async function measure(name, deflate) {
  const server = servers[name](deflate);
  try {
    const url = await address(server);
    let delivered = 0;
    const sockets = [];
    for (let number = 0; number < clients; number += 1) sockets.push(await receiver(url, deflate, () => (delivered += 1)));
    // Not one of them: what it sends is not compressed, and what it gets is not counted.
    const publisher = await receiver(url, false, () => {});
    const messages = Array.from({ length: DIFFERENT }, (_, number) => message(number));
    let published = 0;
    const publishing = setInterval(() => publisher.send(messages[published++ % DIFFERENT]), 1000 / rate);
    const taken = () => ({ cpu: cpu(server.pid), delivered, bytes: sockets.reduce((sum, socket) => sum + socket._socket.bytesRead, 0) });
    await new Promise((resolve) => setTimeout(resolve, WARM_UP));
    const before = taken();
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    const after = taken();
    clearInterval(publishing);
    const behind = published * clients - delivered;
    const each = after.delivered - before.delivered;
    for (const socket of [publisher, ...sockets]) socket.terminate();
    return {
      server: name,
      deflate,
      bytes: size,
      us_per_delivery: Number(((after.cpu - before.cpu) / each).toFixed(2)),
      bytes_per_delivery: Math.round((after.bytes - before.bytes) / each),
      delivered_per_s: Math.round(each / seconds),
      behind: Math.round(behind / clients),
    };
  } finally {
    const ended = new Promise((resolve) => server.once("exit", resolve));
    server.kill("SIGKILL");
    await ended;
  }
}

try {
  for (const deflate of [false, true]) {
    for (const name of Object.keys(servers)) console.log(JSON.stringify(await measure(name, deflate)));
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
