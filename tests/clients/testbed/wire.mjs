// Engine.IO 4 by hand, for what no stock client does.

import { WebSocket } from "ws";
import { soon, until } from "./wait.mjs";

/** A WebSocket, message by message. */
export class Wire {
  /** What came and was not asked for yet; bytes are left out. */
  received = [];
  /** Whether the connection has ended. */
  ended = false;
  #socket;

  /** Opens a session; with `sid`, only the WebSocket that may take one over. */
  static async open(server, { sid } = {}) {
    const wire = new Wire();
    const query = `EIO=4&transport=websocket${sid ? `&sid=${sid}` : ""}`;
    wire.#socket = new WebSocket(`${server.url.replace("http", "ws")}/socket.io/?${query}`);
    wire.#socket.on("message", (data, binary) => binary || wire.received.push(data.toString()));
    wire.#socket.on("close", () => (wire.ended = true));
    wire.#socket.on("error", () => (wire.ended = true));
    await soon("a WebSocket opens", new Promise((resolve, reject) => wire.#socket.once("open", resolve).once("error", reject)));
    if (!sid) await wire.next(/^0\{/);
    return wire;
  }

  /** Opens a session and joins the namespace `/`, with that payload; the answer is in `connect`. */
  static async join(server, payload) {
    const wire = await Wire.open(server);
    wire.send(`40${payload ? JSON.stringify(payload) : ""}`);
    wire.connect = JSON.parse((await wire.next(/^40\{/)).slice(2));
    return wire;
  }

  /** Several messages leave in one write, so that the server reads them at once. */
  send(...messages) {
    const tcp = this.#socket._socket;
    tcp.cork();
    for (const message of messages) this.#socket.send(message);
    tcp.uncork();
  }

  /** Takes the first message, of those that came and will come, that matches. */
  next(pattern, within) {
    return until(`a message like ${pattern}`, () => {
      const place = this.received.findIndex((message) => pattern.test(message));
      if (place >= 0) return this.received.splice(place, 1)[0];
      if (this.ended) throw new Error("the connection has ended");
    }, { within });
  }

  /** Reads nothing any more, until told otherwise: what comes stays in the kernel, here and then there. */
  pause() {
    this.#socket.pause();
  }

  resume() {
    this.#socket.resume();
  }

  close() {
    this.#socket.terminate();
  }
}

/** Whether the condition is met within that many milliseconds. */
export async function within(milliseconds, condition) {
  return until("the condition", condition, { within: milliseconds }).then(() => true, () => false);
}
