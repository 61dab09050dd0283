// A cluster under test: processes of `fanfare serve` over one backend, and the ways in for clients.

import { accessSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { haproxy, roundRobin } from "./backends.mjs";
import { Child } from "./child.mjs";
import { connected, tagOf } from "./clients.mjs";
import { until } from "./wait.mjs";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const rules = fileURLToPath(new URL("../fanfare.toml", import.meta.url));

/** A binary under test, `fanfare` or `fanfare-load`: what stands beside `FANFARE_BIN`, else what Cargo built in the usual place. */
export function binary(name = "fanfare") {
  const built = process.env.FANFARE_BIN ? [dirname(process.env.FANFARE_BIN)] : [`${root}target/release`, `${root}target/debug`];
  const candidates = built.map((directory) => join(directory, name));
  const found = candidates.find((path) => {
    try {
      accessSync(path);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) throw new Error(`no ${name} at ${candidates.join(" or ")}: cargo build --workspace`);
  return found;
}

/** One process of `fanfare serve` with the rules of these tests; what differs between runs is in `environment`. */
export class Node {
  #child;

  static async start(environment) {
    const node = new Node();
    const env = { FANFARE_SERVER__LISTEN: "127.0.0.1:0", FANFARE_INTERNAL__LISTEN: "127.0.0.1:0", ...environment };
    node.#child = new Child(binary(), ["serve", "--config", rules], { env });
    node.public = new URL((await node.#child.line(/^public (http:\S+)/))[1]);
    node.internal = new URL((await node.#child.line(/^internal (http:\S+)/))[1]);
    return node;
  }

  get url() {
    return this.public.origin;
  }

  /** `/readyz`: the status, and the body as an object. */
  async readiness() {
    const answer = await fetch(new URL("/readyz", this.internal), { signal: AbortSignal.timeout(2_000) });
    return { status: answer.status, body: await answer.json() };
  }

  /** The sum of a metric over all its labels; 0 while the node has nothing to report under that name. */
  async metric(name) {
    const answer = await fetch(new URL("/metrics", this.internal), { signal: AbortSignal.timeout(2_000) });
    const lines = (await answer.text()).split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
    return lines.reduce((sum, line) => sum + Number(line.replace(/\{.*\}/, "").split(" ")[1]), 0);
  }

  /** The bytes of memory that are the process's own. */
  memory() {
    return this.#child.memory();
  }

  /** Fails if the process has ended by itself. */
  assertAlive() {
    if (this.#child.end) throw new Error(this.#child.report(`ended by itself (${JSON.stringify(this.#child.end)})`));
  }

  report(headline) {
    return this.#child.report(headline);
  }

  stop() {
    return this.#child.stop(15_000);
  }

  /** Ends it at once, as a crash would. */
  kill() {
    return this.#child.kill();
  }
}

/** Nodes that are ready, over one backend. */
export class Cluster {
  nodes = [];
  /** What clients of this cluster may use to get in. */
  transports;
  #balancer;
  #sockets = new Set();

  /**
   * With `balanced`, clients come through HAProxy, which keeps each at its node by the recipe for it (`"cookie"`), or sends every request
   * to the next one (`"round robin"`), and they stay with polling unless `transports` says otherwise; else each goes to a node by its own address.
   */
  static async start({ backend, nodes = 3, balanced, transports, environment = {} }) {
    const cluster = new Cluster();
    cluster.transports = transports ?? (balanced ? ["polling"] : ["polling", "websocket"]);
    try {
      const sticky = balanced === "cookie";
      const settings = { ...backend?.environment, ...(sticky && { FANFARE_COOKIE__ENABLED: "true" }), ...environment };
      const starts = Array.from({ length: nodes }, () => Node.start(settings));
      for (const start of await Promise.allSettled(starts)) {
        if (start.status === "fulfilled") cluster.nodes.push(start.value);
      }
      await Promise.all(starts);
      for (const node of cluster.nodes) await until("a started node is ready", async () => (await node.readiness()).status === 200);
      if (balanced) cluster.#balancer = await (sticky ? haproxy(cluster.nodes, "haproxy-cookie.cfg") : roundRobin(cluster.nodes));
      await cluster.#acquainted();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** Resolves when what any node emits arrives at every other one. */
  async #acquainted() {
    const probes = await this.spread(1, { forceNew: true });
    const heard = new Set();
    probes.forEach((probe, to) => probe[0].on("announce", ({ acquainted }) => heard.add(`${acquainted}-${to}`)));
    await until("every node hears every other", () => {
      probes.forEach((probe, from) => probe[0].emit("announce", { acquainted: from }));
      return heard.size === probes.length ** 2;
    }, { every: 50 });
    for (const [probe] of probes) this.hangUp(probe);
  }

  /** Where its balancer is, if it has one. */
  get url() {
    return this.#balancer && `http://127.0.0.1:${this.#balancer.port}`;
  }

  /** A connected client of the node with that index (through a balancer: of the node that the balancer chose). */
  async connect(index, { namespace = "/", ...options } = {}) {
    const url = this.url ?? this.nodes[index].url;
    const credentials = { withCredentials: Boolean(this.#balancer) };
    return connected(url + namespace, { transports: this.transports, ...credentials, ...options }, this.#sockets);
  }

  /** `count` clients at each node: an array of them per node. Where the balancer decides, more are connected until it is so. */
  async spread(count, options) {
    const groups = new Map();
    const wanted = count * this.nodes.length;
    let placed = 0;
    for (let attempt = 0; placed < wanted; attempt++) {
      if (attempt === 20 * wanted) throw new Error(`${count} clients wanted at each of ${this.nodes.length} nodes, not ${placed} of ${wanted}`);
      const socket = await this.connect(attempt % this.nodes.length, options);
      const group = groups.get(tagOf(socket)) ?? [];
      if (group.length === count) {
        this.hangUp(socket);
        continue;
      }
      groups.set(tagOf(socket), [...group, socket]);
      placed += 1;
    }
    if (groups.size !== this.nodes.length) throw new Error(`clients of ${groups.size} nodes, not ${this.nodes.length}`);
    return [...groups.values()];
  }

  /** Kills a node, which is one of the cluster no more. */
  async kill(index) {
    const [node] = this.nodes.splice(index, 1);
    await node.kill();
  }

  hangUp(...sockets) {
    for (const socket of sockets) {
      this.#sockets.delete(socket);
      socket.disconnect();
    }
  }

  assertAlive() {
    for (const node of this.nodes) node.assertAlive();
  }

  async stop() {
    this.hangUp(...this.#sockets);
    await this.#balancer?.stop();
    const ends = await Promise.all(this.nodes.map((node) => node.stop()));
    const failed = ends.findIndex((end) => end.code !== 0);
    if (failed >= 0) throw new Error(this.nodes[failed].report(`did not end well: ${JSON.stringify(ends[failed])}`));
  }
}
