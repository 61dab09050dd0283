// Clients: the stock `socket.io-client`, and what the stories ask of it.

import { io, NodeWebSocket, NodeXHR } from "socket.io-client";
import { soon, until } from "./wait.mjs";

/** A client of its own connection that is not brought back when it is lost: in these tests a lost connection is a failure. */
export function connectClient(url, options) {
  return io(url, { forceNew: true, multiplex: false, reconnection: false, ...options });
}

/** The same when it has connected; it is one of `sockets` from the beginning, so that it can be hung up whatever becomes of it. */
export async function connected(url, options, sockets) {
  const socket = connectClient(url, options);
  sockets.add(socket);
  await soon(`a client connects to ${url}`, new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject)));
  return socket;
}

/** The tag of the node that a client is connected to: an Engine.IO session id begins with it. */
export function tagOf(socket) {
  return socket.io.engine.id.slice(0, 4);
}

/** Collects the argument lists of an event, in the order of arrival. */
export function record(socket, event) {
  const heard = [];
  socket.on(event, (...args) => heard.push(args));
  return heard;
}

let fences = 0;

/**
 * Resolves when everything that `sender` caused before has arrived wherever it goes: what one caller emits arrives in its order, so
 * it sends one event more, to everybody, and waits until each of `sockets` has it.
 */
export async function fence(sender, sockets) {
  const id = `fence ${++fences}`;
  const waiting = new Set(sockets);
  const listeners = sockets.map((socket) => {
    const listener = (value) => value === id && waiting.delete(socket);
    socket.on("announce", listener);
    return listener;
  });
  sender.emit("announce", id);
  await until(() => `${waiting.size} of ${sockets.length} clients hear an event for everybody`, () => waiting.size === 0);
  sockets.forEach((socket, i) => socket.off("announce", listeners[i]));
}

/** Transports that begin with polling and upgrade when `open()` is called, not before. */
export function gate() {
  let open;
  const opened = new Promise((resolve) => (open = resolve));
  class GatedWebSocket extends NodeWebSocket {
    doOpen() {
      opened.then(() => super.doOpen());
    }
  }
  return { transports: [NodeXHR, GatedWebSocket], open };
}
