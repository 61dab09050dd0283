// A way to a server that a test can cut: TCP connections go through it, and end when the test says so.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** By how many milliseconds a `PacketProxy` delays a POST. */
const POST_DELAY = 30;

export class Proxy {
  #server;
  #pairs = new Set();
  #open = true;

  /** A proxy to `port`, on a free one unless told which. */
  static async start(port, { listen = 0 } = {}) {
    const proxy = new this();
    proxy.#server = createServer((near) => proxy.#join(near, connect(port, "127.0.0.1")));
    proxy.#server.listen(listen, "127.0.0.1");
    await once(proxy.#server, "listening");
    proxy.url = `http://127.0.0.1:${proxy.#server.address().port}`;
    return proxy;
  }

  #join(near, far) {
    if (!this.#open) {
      near.destroy();
      far.destroy();
      return;
    }
    const pair = [near, far];
    this.#pairs.add(pair);
    near.on("data", this.upstream(far));
    far.on("data", this.downstream(near));
    for (const [from, to] of [pair, pair.toReversed()]) {
      from.setNoDelay();
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
    }
  }

  /** What becomes of data from a client on its way to `far`. */
  upstream(far) {
    return (data) => far.write(data);
  }

  /** What becomes of data from the server on its way to `near`. */
  downstream(near) {
    return (data) => near.write(data);
  }

  /** Lets new connections through, or ends them at once. */
  open(open = true) {
    this.#open = open;
  }

  /** Ends every connection, as a network does that is gone. */
  cut() {
    for (const [near, far] of this.#pairs) {
      near.destroy();
      far.destroy();
    }
  }

  stop() {
    this.cut();
    this.#server.close();
  }
}

/** A proxy that cuts behind a number of Engine.IO packets of the server, whatever transport they come over. */
export class PacketProxy extends Proxy {
  #left = Infinity;
  /** The packets that went through since the last `allow`. */
  passed = 0;
  /** Whether it has cut since the last `allow`. */
  didCut = false;

  /** Lets `packets` more packets through. The next one is lost, with all connections, and new ones are ended until `open`. */
  allow(packets) {
    this.#left = packets;
    this.passed = 0;
    this.didCut = false;
    this.open();
  }

  /** A POST comes a little later than the poll beside it: what it causes is then answered one by one. */
  upstream(far) {
    let before = Promise.resolve();
    return (data) => {
      const late = data.subarray(0, 5).toString() === "POST ";
      before = before.then(() => late && new Promise((resolve) => setTimeout(resolve, POST_DELAY))).then(() => far.write(data));
    };
  }

  downstream(near) {
    const pieces = new Pieces();
    return (data) => {
      for (const { bytes, packets } of pieces.read(data)) {
        // An answer to a poll that does not come whole does not come at all.
        if (packets > this.#left) return this.#lose();
        this.#left -= packets;
        this.passed += packets;
        near.write(bytes);
      }
    };
  }

  #lose() {
    this.didCut = true;
    this.open(false);
    this.cut();
  }
}

/** Takes what a server sends on one connection apart, into answers and frames; says how many packets are in each. */
class Pieces {
  #rest = Buffer.alloc(0);
  #websocket = false;

  *read(data) {
    this.#rest = Buffer.concat([this.#rest, data]);
    for (let piece; (piece = this.#websocket ? this.#frame() : this.#answer()); ) yield piece;
  }

  /** A piece of that length, if it is there. */
  #piece(length, packets) {
    if (this.#rest.length < length) return;
    const bytes = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return { bytes, packets };
  }

  #frame() {
    const rest = this.#rest;
    const short = rest[1] & 0x7f;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (rest.length < head) return;
    const length = short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
    // Above 7 are the WebSocket's own frames.
    return this.#piece(head + length, (rest[0] & 0x0f) < 8 ? 1 : 0);
  }

  #answer() {
    const end = this.#rest.indexOf("\r\n\r\n") + 4;
    if (end < 4) return;
    const head = this.#rest.subarray(0, end).toString();
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    // Of the answers only those to polls have packets in them, between separators.
    const payload = /^content-type: *text\/plain/im.test(head);
    const body = this.#rest.subarray(end, end + length);
    const piece = this.#piece(end + length, payload ? body.toString().split("\x1e").length : 0);
    if (piece) this.#websocket = head.startsWith("HTTP/1.1 101");
    return piece;
  }
}
