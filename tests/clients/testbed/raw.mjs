// Clients without manners: Engine.IO by hand, over HTTP and over a bare WebSocket.

import { connect } from "node:net";
import { until } from "./wait.mjs";

/** A polling session, packet by packet. */
export class RawPolling {
  #url;

  /** Shakes hands and joins the namespace `/`. */
  static async open(node) {
    const session = new RawPolling();
    session.#url = `${node.url}/socket.io/?EIO=4&transport=polling`;
    const { body } = await session.get();
    session.#url += `&sid=${JSON.parse(body.slice(1)).sid}`;
    await session.post("40");
    await session.get();
    return session;
  }

  get() {
    return request(this.#url);
  }

  post(body) {
    return request(this.#url, { method: "POST", body, headers: { "content-type": "text/plain" } });
  }
}

async function request(url, options = {}) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000), ...options });
  return { status: answer.status, body: await answer.text() };
}

/** A WebSocket connection, byte by byte. */
export class RawWebSocket {
  #socket;
  #received = Buffer.alloc(0);
  #ended = false;

  /** What the server answered to the offer of extensions, if it did. */
  extensions;

  /** Shakes hands, offering `extensions` if there are any, and joins the namespace `/`. */
  static async open(node, { extensions = [] } = {}) {
    const client = new RawWebSocket();
    client.#socket = connect(Number(node.public.port), node.public.hostname);
    // A test that fails leaves its connection behind: it must not keep the test file from ending.
    client.#socket.unref();
    client.#socket.on("data", (data) => (client.#received = Buffer.concat([client.#received, data])));
    client.#socket.on("error", () => {});
    client.#socket.on("close", () => (client.#ended = true));
    client.#socket.write(
      `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: ${node.public.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" +
        `${extensions.map((offer) => `Sec-WebSocket-Extensions: ${offer}\r\n`).join("")}\r\n`,
    );
    const end = await until("the server switches protocols", () => client.#received.indexOf("\r\n\r\n") + 1);
    client.extensions = /^sec-websocket-extensions: (.*)\r$/im.exec(client.#received.subarray(0, end).toString())?.[1];
    client.#received = client.#received.subarray(end + 3);
    client.send(frame(TEXT, "40"));
    await until("the server answers CONNECT", () => client.#frames().some(({ payload }) => payload.toString().startsWith('40{"sid"')));
    return client;
  }

  /** The whole frames that came: the server's are not masked. */
  #frames() {
    const frames = [];
    let rest = this.#received;
    while (rest.length >= 2) {
      const short = rest[1] & 0x7f;
      const [length, head] = short < 126 ? [short, 2] : short === 126 ? [rest.readUInt16BE(2), 4] : [Number(rest.readBigUInt64BE(2)), 10];
      if (rest.length < head + length) break;
      frames.push({ opcode: rest[0] & 0x0f, payload: rest.subarray(head, head + length) });
      rest = rest.subarray(head + length);
    }
    return frames;
  }

  send(bytes) {
    this.#socket.write(bytes);
  }

  /** Half-closes the connection: nothing more comes. Resolves when the server has closed its half too. */
  async end() {
    this.#socket.end();
    await until("the server closes the connection", () => this.#ended);
  }

  /** Waits for the server's close frame and answers it; its status, 1005 for one without. */
  async closeCode() {
    const { payload } = await until("the server sends a close frame", () => {
      const close = this.#frames().find(({ opcode }) => opcode === CLOSE);
      if (!close && this.#ended) throw new Error("the connection ended without one");
      return close;
    });
    if (!this.#ended) this.send(frame(CLOSE, payload));
    await this.end();
    return payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
  }
}

export const TEXT = 1;
export const BINARY = 2;
const CLOSE = 8;

/** A client's frame: final, masked with zeros, of any content; `compressed` says that it is; `claim` overrides the length that its header says. */
export function frame(opcode, content, { final = true, compressed = false, masked = true, claim } = {}) {
  const payload = Buffer.from(content);
  const length = claim ?? payload.length;
  const extended = length < 126 ? Buffer.alloc(0) : Buffer.alloc(8);
  if (length >= 126) extended.writeBigUInt64BE(BigInt(length));
  const mask = masked ? 0x80 : 0;
  const head = Buffer.from([(final ? 0x80 : 0) | (compressed ? 0x40 : 0) | opcode, mask | (length < 126 ? length : 127)]);
  return Buffer.concat([head, extended, Buffer.alloc(masked ? 4 : 0), payload]);
}
