// One server for the stories of clients: fanfare's example `server/`, or the reference beside it, which takes the same flags.

import { fileURLToPath } from "node:url";
import { Child } from "./child.mjs";
import { binary } from "./cluster.mjs";

const commands = {
  fanfare: () => [binary("examples/client-server")],
  reference: () => [process.execPath, fileURLToPath(new URL("../reference/server.mjs", import.meta.url))],
};

export class Server {
  #child;
  #ending = false;

  /** Starts `target`, `fanfare` or `reference`; flags are given as `{ port: 3000, bare: true }`. */
  static async start(target, flags = {}) {
    const given = Object.entries(flags).filter(([, value]) => value !== undefined && value !== false);
    const args = given.flatMap(([name, value]) => (value === true ? [`--${name}`] : [`--${name}`, `${value}`]));
    const [program, ...first] = commands[target]();
    const server = new Server();
    server.target = target;
    server.#child = new Child(program, [...first, ...args]);
    server.url = (await server.#child.line(/^listening (http:\S+)/))[1];
    server.port = Number(new URL(server.url).port);
    return server;
  }

  /** Fails if the process has ended by itself. */
  assertAlive() {
    if (this.#child.end && !this.#ending) throw new Error(this.#child.report(`ended by itself (${JSON.stringify(this.#child.end)})`));
  }

  report(headline) {
    return this.#child.report(headline);
  }

  /** Asks the process to end, and waits for nothing. */
  terminate() {
    this.#ending = true;
    this.#child.signal("SIGTERM");
  }

  async stop() {
    const end = await this.#child.stop(15_000);
    if (end.code !== 0) throw new Error(this.#child.report(`did not end well: ${JSON.stringify(end)}`));
  }
}
