// The peers of `fanfare-load compare`, each as a process.

import { accessSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { Child } from "./child.mjs";

const peers = fileURLToPath(new URL("../../../load-tests/peers/", import.meta.url));

/** The program of a peer and its arguments: those in Rust stand in `FANFARE_PEERS`, else where `compare` builds them. */
function command(name) {
  const path = name === "node" ? join(peers, "node/server.mjs") : join(process.env.FANFARE_PEERS ?? join(peers, "target/release"), name);
  const needed = name === "node" ? join(peers, "node/node_modules/socket.io") : path;
  try {
    accessSync(needed);
  } catch {
    const how = name === "node" ? "npm ci --prefix load-tests/peers/node" : "cargo build --release --manifest-path load-tests/peers/Cargo.toml";
    throw new Error(`no ${needed}: ${how}`);
  }
  return name === "node" ? [process.execPath, [path]] : [path, []];
}

/** A process of a peer that has not said yet that it listens. */
export function spawnPeer(name, env = {}) {
  return new Child(...command(name), { env: { PORT: "0", ...env } });
}

/** A peer that listens: `url`, `pid`, `stop()`. */
export async function startPeer(name, env) {
  const child = spawnPeer(name, env);
  try {
    const [, url] = await child.line(/^public (http:\S+)/);
    const [, pid] = await child.line(/^pid (\d+)/);
    return { url, pid: Number(pid), stop: () => child.stop(), report: (headline) => child.report(headline) };
  } catch (error) {
    await child.kill();
    throw error;
  }
}
