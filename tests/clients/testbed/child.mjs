// Child processes: each is started here, keeps what it said for the report of a failure, and is ended by its own process id.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { soon } from "./wait.mjs";

const living = new Set();
const directories = new Set();

// The last resort, when a test file ends without its `after` hooks: nothing outlives it.
process.on("exit", () => {
  for (const child of living) child.signal("SIGKILL");
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

export class Child {
  #process;
  #lines = [];
  #wanted = [];
  #listener = () => {};
  /** Resolves to `{ code, signal }` when the process has ended. */
  exited;
  /** `{ code, signal }` once the process has ended. */
  end = null;

  constructor(command, args = [], { env = {} } = {}) {
    this.name = command.split("/").at(-1);
    // What is set for the tests, or by accident, is not configuration of the nodes under test.
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FANFARE_")));
    // Debian keeps daemons in sbin, which is not on every user's path.
    const path = `${process.env.PATH}:/usr/sbin:/sbin`;
    this.#process = spawn(command, args, { env: { ...inherited, PATH: path, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    living.add(this);
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      createInterface({ input: stream }).on("line", (line) => this.#heard(line));
    }
    this.exited = new Promise((resolve) => {
      const ended = (end) => {
        living.delete(this);
        this.end = end;
        for (const { reject } of this.#wanted.splice(0)) reject(new Error(`ended (${JSON.stringify(end)})`));
        resolve(end);
      };
      this.#process.on("exit", (code, signal) => ended({ code, signal }));
      this.#process.on("error", (error) => ended({ code: null, signal: null, error: error.message }));
    });
  }

  #heard(line) {
    this.#listener(line);
    this.#lines.push(line);
    if (this.#lines.length > 200) this.#lines.shift();
    this.#wanted = this.#wanted.filter(({ pattern, resolve }) => {
      const match = pattern.exec(line);
      if (match) resolve(match);
      return !match;
    });
  }

  /** The bytes of memory that are its own (not of files), while it lives. */
  memory() {
    return 1024 * Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.#process.pid}/status`, "utf8"))[1]);
  }

  /** The first line, of those kept and those to come, that matches. */
  async line(pattern, within = 15_000) {
    for (const line of this.#lines) {
      const match = pattern.exec(line);
      if (match) return match;
    }
    if (this.end) throw new Error(this.report(`ended (${JSON.stringify(this.end)})`));
    const match = new Promise((resolve, reject) => this.#wanted.push({ pattern, resolve, reject }));
    return soon(`a line like ${pattern}`, match, within).catch((error) => {
      throw new Error(this.report(error.message));
    });
  }

  /** Calls `listener` with each line that comes from now on. */
  onLine(listener) {
    this.#listener = listener;
  }

  /** What the process said last, under a headline. */
  report(headline) {
    return [`${this.name} ${headline}`, ...this.#lines.slice(-40).map((line) => `    ${line}`)].join("\n");
  }

  get pid() {
    return this.#process.pid;
  }

  signal(name) {
    if (!this.end) this.#process.kill(name);
  }

  /** Ends the process: asks with SIGTERM, insists after `grace` milliseconds. */
  async stop(grace = 5_000) {
    this.signal("SIGTERM");
    const insist = setTimeout(() => this.signal("SIGKILL"), grace);
    const end = await this.exited;
    clearTimeout(insist);
    return end;
  }

  async kill() {
    this.signal("SIGKILL");
    return this.exited;
  }
}

/** A port of 127.0.0.1 that nobody listens on now. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** An empty directory that goes when the test file ends. */
export function scratch() {
  const directory = mkdtempSync(join(tmpdir(), "fanfare-clients-"));
  directories.add(directory);
  return directory;
}
