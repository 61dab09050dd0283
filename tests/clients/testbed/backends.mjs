// The real components beside fanfare: Redis, NATS, HAProxy, each a process of its own on a free port.

import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { Child, freePort, scratch } from "./child.mjs";
import { until } from "./wait.mjs";

/** A server that can be killed, and started again on the port that its clients know. */
class Backend {
  #command;
  #child;
  #greets;

  constructor({ name, port, command, greets, environment }) {
    Object.assign(this, { name, port, environment });
    this.#command = command;
    this.#greets = greets;
  }

  /** Resolves when the port answers, with the time at which it did (of `performance.now()`). */
  async start() {
    const [program, ...args] = this.#command;
    this.#child = new Child(program, args);
    await until(`${this.name} answers on port ${this.port}`, () => {
      if (this.#child.end) throw new Error(this.#child.report("ended"));
      return this.#greets(this.port);
    });
    return performance.now();
  }

  /** Ends it at once, as a crash would. */
  async kill() {
    await this.#child.kill();
    return performance.now();
  }

  async stop() {
    await this.#child.stop();
  }
}

/** Redis: pub/sub only, nothing on disk. */
export async function redis() {
  const port = await freePort();
  const command = ["redis-server", "--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", scratch()];
  const environment = { FANFARE_ADAPTER__KIND: "redis", FANFARE_ADAPTER__REDIS__URL: `redis://127.0.0.1:${port}` };
  const backend = new Backend({ name: "Redis", port, command, environment, greets: says("PING\r\n", "+PONG") });
  await backend.start();
  return backend;
}

/** NATS: core pub/sub. */
export async function nats() {
  const port = await freePort();
  const command = ["nats-server", "-a", "127.0.0.1", "-p", `${port}`];
  const environment = { FANFARE_ADAPTER__KIND: "nats", FANFARE_ADAPTER__NATS__URL: `nats://127.0.0.1:${port}` };
  const backend = new Backend({ name: "NATS", port, command, environment, greets: says("", "INFO ") });
  await backend.start();
  return backend;
}

// A poll that was on its way through a node that has died is sent again through another: its session is somewhere else. A POST is not, since
// it may have been taken.
const roaming = `  option redispatch
  retries 3
  retry-on conn-failure empty-response
  http-request disable-l7-retry if METH_POST`;

/**
 * HAProxy before the nodes: round robin, and when it is `sticky` a cookie that keeps each at its node. Without one every request goes to
 * the next node.
 */
export async function haproxy(nodes, { sticky }) {
  const port = await freePort();
  const config = join(scratch(), "haproxy.cfg");
  const servers = nodes.map((node, i) => `  server node${i} ${node.public.host} ${sticky ? `cookie node${i} ` : ""}check port ${node.internal.port} inter 200ms`);
  writeFileSync(
    config,
    `defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
frontend public
  bind 127.0.0.1:${port}
  default_backend nodes
backend nodes
  balance roundrobin
${sticky ? "  cookie AFFINITY insert indirect nocache httponly" : roaming}
  option httpchk GET /readyz
${servers.join("\n")}
`,
  );
  const balancer = new Backend({ name: "HAProxy", port, command: ["haproxy", "-db", "-f", config], greets: accepts });
  await balancer.start();
  return balancer;
}

/** Whether a server on the port answers `question` with something that begins with `answer`. */
function says(question, answer) {
  return (port) =>
    new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1", () => socket.write(question));
      const ended = (result) => {
        socket.destroy();
        resolve(result);
      };
      socket.setTimeout(500, () => ended(false));
      socket.once("data", (data) => ended(data.toString().startsWith(answer)));
      socket.once("error", () => ended(false));
    });
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
