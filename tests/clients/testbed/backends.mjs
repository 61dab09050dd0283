// The real components beside fanfare: Redis, NATS, HAProxy, nginx, each a process of its own on a free port.

import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Child, freePort, scratch } from "./child.mjs";
import { until } from "./wait.mjs";

/** A server that can be killed, and started again on the port that its clients know. */
class Backend {
  #command;
  #variables;
  #child;
  #greets;

  /** `environment` is what nodes are to know of it, `variables` what it is told itself. */
  constructor({ name, port, command, greets, environment, variables }) {
    Object.assign(this, { name, port, environment });
    this.#command = command;
    this.#variables = variables;
    this.#greets = greets;
  }

  /** Resolves when the port answers, with the time at which it did (of `performance.now()`). */
  async start() {
    const [program, ...args] = this.#command;
    this.#child = new Child(program, args, { env: this.#variables });
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

/** HAProxy that sends every request to the next node, and knows nothing of sessions. */
export async function roundRobin(nodes) {
  const port = await freePort();
  const config = join(scratch(), "haproxy.cfg");
  const servers = nodes.map((node, i) => `  server node${i} ${node.public.host} check port ${node.internal.port} inter 1s fall 2 rise 1`);
  // A poll that was on its way through a node that has died is sent again through another: its session is somewhere else. A POST is not,
  // since it may have been taken.
  writeFileSync(
    config,
    `defaults
  mode http
  timeout connect 5s
  timeout check 10s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
frontend public
  bind 127.0.0.1:${port}
  default_backend nodes
backend nodes
  balance roundrobin
  option redispatch 1
  retries 3
  retry-on conn-failure empty-response
  http-request disable-l7-retry if METH_POST
  option httpchk GET /readyz
${servers.join("\n")}
`,
  );
  const balancer = new Backend({ name: "HAProxy", port, command: ["haproxy", "-db", "-f", config], greets: accepts });
  await balancer.start();
  return balancer;
}

const recipes = fileURLToPath(new URL("../../../k8s/balancers/", import.meta.url));

/** HAProxy with a recipe, whose file is run as it stands: where its nodes are it reads from the environment. */
export async function haproxy(nodes, recipe) {
  const port = await freePort();
  const variables = { BIND: `127.0.0.1:${port}` };
  for (const [i, node] of nodes.entries()) {
    variables[`NODE_${i + 1}`] = node.public.host;
    variables[`NODE_${i + 1}_CHECK`] = node.internal.port;
  }
  const balancer = new Backend({ name: "HAProxy", port, command: ["haproxy", "-db", "-f", join(recipes, recipe)], variables, greets: accepts });
  await balancer.start();
  return balancer;
}

/** nginx with a recipe, in whose file the addresses are replaced, and nothing else. */
export async function nginx(nodes, recipe) {
  const port = await freePort();
  const directory = scratch();
  let text = readFileSync(join(recipes, recipe), "utf8");
  const places = [["listen 80;", `listen 127.0.0.1:${port};`], ...nodes.map((node, i) => [`10.0.0.${i + 1}:3000`, node.public.host])];
  for (const [place, address] of places) {
    if (!text.includes(place)) throw new Error(`${recipe} has no ${place}`);
    text = text.replaceAll(place, address);
  }
  writeFileSync(join(directory, "recipe.conf"), text);
  // One process, which leaves no others behind; as root it would give up its rights, and with them this directory.
  writeFileSync(
    join(directory, "nginx.conf"),
    `${process.getuid() === 0 ? "user root;" : ""}
daemon off;
master_process off;
pid ${directory}/pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${directory}/${kind};`).join("\n  ")}
  include ${directory}/recipe.conf;
}
`,
  );
  const command = ["nginx", "-p", directory, "-e", "stderr", "-c", join(directory, "nginx.conf")];
  const balancer = new Backend({ name: "nginx", port, command, greets: accepts });
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
