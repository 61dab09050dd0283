// The demo page: one Socket.IO client for each node. Everything shown here happened: the milliseconds are measured in this page, the
// transport is what the client reports, and a message stands in a pane because that pane's node delivered it.
"use strict";

const { nodes, bus } = JSON.parse(document.getElementById("demo").textContent);
const ROOMS = ["brass", "strings", "drums"];
const KEPT = 80; // entries of a log
const PAGE = Math.random().toString(36).slice(2); // tells this window's messages from those of others
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const CALLS = {
  everyone: () => 'io.sockets().emit("said", …)',
  others: () => 'socket.broadcast().emit("said", …)',
  room: (room) => `io.to("${room}").emit("said", …)`,
};
const TAGS = { everyone: () => "to everyone", others: () => "to all but itself", room: (room) => `to room ${room}` };

const $ = (id) => document.getElementById(id);
const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const milliseconds = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// Drawing waits for the next frame: what arrives in between is drawn at once, and no message waits for the drawing of another.
const drawings = new Map();
const draw = (key, drawing) => {
  if (drawings.size === 0) requestAnimationFrame(() => {
    const due = [...drawings.values()];
    drawings.clear();
    for (const one of due) one();
  });
  drawings.set(key, drawing);
};

// One message of this window, while it arrives: which panes were expected to get it, and when each did.
const flights = new Map();
let serial = 0;
let burst = null;

class Pane {
  constructor(node, index) {
    this.node = node;
    this.index = index;
    this.sent = 0;
    this.received = 0;
    this.joined = new Set();
    this.waiting = []; // entries that are not drawn yet
    this.url = `${location.protocol}//${location.hostname}:${node.port}`;
    this.build();
    this.connect();
  }

  build() {
    const pane = $("pane").content.firstElementChild.cloneNode(true);
    const find = (selector) => pane.querySelector(selector);
    Object.assign(this, {
      pane, log: find(".log"), text: find(".text"), target: find(".target"), call: find(".call"), link: find(".link"),
      transport: find(".transport"), rooms: find(".rooms"), send: find("form .primary"),
    });
    this.facts = Object.fromEntries([...pane.querySelectorAll("[data-fact]")].map((fact) => [fact.dataset.fact, fact]));
    const name = `Node ${this.node.number}`;
    pane.classList.add(`n${this.node.number}`);
    pane.setAttribute("aria-label", name);
    find(".number").textContent = this.node.number;
    find("h2").textContent = name;
    find(".address").textContent = this.url.replace(/^https?:\/\//, "");
    find(".address").href = this.url;
    this.log.setAttribute("aria-label", `What the client of node ${this.node.number} received`);
    this.log.dataset.empty = "Nothing yet.\nSay something in any pane, or press “Show me”.";
    this.text.setAttribute("aria-label", `Message from node ${this.node.number}`);
    for (const radio of pane.querySelectorAll(".reach input")) {
      radio.name = `reach-${this.node.number}`;
      radio.addEventListener("change", () => this.describe());
    }
    for (const room of ROOMS) {
      this.target.append(new Option(room, room));
      const button = make("button", "", room);
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => this.toggle(room));
      this.rooms.append(button);
    }
    this.target.addEventListener("change", () => this.describe());
    find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.say(this.text.value.trim());
      this.text.value = "";
    });
    this.link.addEventListener("click", () => (this.socket.active ? this.socket.disconnect() : this.socket.connect()));
    $("panes").append(pane);
    this.stem = make("div", `stem n${this.node.number}`);
    document.querySelector(".wires").append(this.stem);
    this.describe();
    this.state("off", "connecting");
  }

  // Who gets the next message, as the page's controls say.
  get reach() {
    return this.pane.querySelector(".reach input:checked").value;
  }

  set reach(value) {
    this.pane.querySelector(`.reach input[value=${value}]`).checked = true;
    this.describe();
  }

  describe() {
    this.target.hidden = this.reach !== "room";
    this.call.textContent = CALLS[this.reach](this.target.value);
  }

  connect() {
    // Each pane its own connection, beginning with polling as browsers do, so that the upgrade can be watched.
    this.socket = io(this.url, { forceNew: true });
    this.socket.on("connect", () => {
      const { engine } = this.socket.io;
      this.opened = performance.now();
      this.transport_is(engine.transport.name);
      engine.on("upgrade", (transport) => this.transport_is(transport.name, performance.now() - this.opened));
      this.news(`connected to node ${this.node.number}`);
      for (const room of this.joined) this.socket.emit("join", room);
      this.enable();
      this.ping();
    });
    this.socket.on("disconnect", (reason) => {
      this.state("off", "disconnected");
      this.facts.ping.textContent = "–";
      this.news(`disconnected: ${reason}`);
      this.enable();
    });
    this.socket.on("connect_error", (error) => {
      this.state("off", "unreachable");
      this.failed ||= this.news(`cannot connect: ${error.message}`);
      this.enable();
    });
    this.socket.on("said", (message) => this.said(message));
    setInterval(() => this.ping(), 2000);
  }

  state(kind, label) {
    this.transport.classList.remove("off", "polling", "websocket", "upgraded");
    this.transport.classList.add(kind);
    this.transport.querySelector("dd").textContent = label;
  }

  transport_is(name, after) {
    this.state(name, name);
    if (after === undefined) return;
    this.transport.classList.add("upgraded");
    this.news(`upgraded from polling to ${name} after ${milliseconds(after)}`);
    setTimeout(() => this.ping(), 250);
  }

  enable() {
    const on = this.socket.connected;
    this.send.disabled = !on;
    for (const button of this.rooms.querySelectorAll("button")) button.disabled = !on;
    this.link.textContent = this.socket.active ? "Disconnect" : "Connect";
    for (const id of ["tour", "burst"]) $(id).disabled = panes.length < nodes.length || !panes.every((pane) => pane.socket?.connected);
  }

  ping() {
    if (!this.socket.connected) return;
    const start = performance.now();
    this.socket.timeout(5000).emit("echo", (error) => {
      if (!error) this.facts.ping.textContent = milliseconds(performance.now() - start);
    });
  }

  async toggle(room, wanted = !this.joined.has(room)) {
    if (wanted === this.joined.has(room)) return;
    await this.socket.timeout(5000).emitWithAck(wanted ? "join" : "leave", room).then(
      () => {
        this.joined[wanted ? "add" : "delete"](room);
        for (const button of this.rooms.querySelectorAll("button")) {
          if (button.textContent === room) button.setAttribute("aria-pressed", String(wanted));
        }
        this.news(wanted ? `joined room ${room}` : `left room ${room}`);
      },
      () => this.news(`no answer about room ${room}`),
    );
  }

  say(text) {
    if (!text || !this.socket.connected) return;
    const reach = this.reach;
    const room = reach === "room" ? this.target.value : "";
    const id = ++serial;
    const gets = panes.filter((pane) => pane.socket.connected && (reach === "everyone" || (reach === "others" ? pane !== this : pane.joined.has(room))));
    flights.set(id, { text, from: this, reach, room, missing: new Set(gets), arrived: [] });
    if (flights.size > 500) flights.delete(flights.keys().next().value);
    this.sent++;
    this.count();
    if (!burst && !gets.includes(this)) this.entry(this.node.number, reach, room, text, reach === "others" ? "sent, not heard here" : "sent, not a member", "silent mine");
    if (!burst && gets.length === 0) draw(summary, () => summary(flights.get(id)));
    this.socket.emit("say", { text, reach, room, stamp: { page: PAGE, id, at: performance.now() } });
  }

  said({ node, reach, room, text, stamp }) {
    const ours = stamp.page === PAGE;
    const took = ours ? performance.now() - stamp.at : undefined;
    this.received++;
    this.count();
    const flight = ours ? flights.get(stamp.id) : undefined;
    const transport = this.socket.io.engine.transport.name;
    this.entry(node, reach, room, text, `${transport} · ${took === undefined ? "another window" : milliseconds(took)}`, flight?.from === this ? "mine" : "");
    if (burst) return burst.arrived(took);
    draw(`spark ${node} ${this.node.number}`, () => spark(node, this));
    if (!flight) return;
    flight.missing.delete(this);
    flight.arrived.push({ pane: this, took });
    draw(summary, () => summary(flight));
  }

  entry(node, reach, room, text, took, className) {
    const entry = make("li", `entry n${node} ${className}`);
    const meta = make("div", "meta");
    meta.append(make("b", "", `Node ${node}`), make("span", "", TAGS[reach](room)), make("span", "took", took));
    entry.append(meta, make("div", "said", text));
    this.append(entry);
  }

  news(text) {
    this.append(make("li", "entry news", text));
    return true;
  }

  append(entry) {
    this.waiting.push(entry);
    if (this.waiting.length > KEPT) this.waiting.shift(); // a window in the background draws no frames
    draw(this.log, () => {
      const { log } = this;
      const following = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
      log.append(...this.waiting.splice(0));
      while (log.childElementCount > KEPT) log.firstElementChild.remove();
      if (following) log.scrollTop = log.scrollHeight;
    });
  }

  count() {
    draw(this.facts, () => {
      this.facts.sent.textContent = this.sent;
      this.facts.received.textContent = this.received;
    });
  }

  clear() {
    this.waiting.length = 0;
    this.log.replaceChildren();
    this.sent = this.received = 0;
    this.count();
  }
}

// The line above the panes: what the last message was, and when it reached whom.
function summary({ text, from, reach, room, arrived, missing }) {
  const line = $("last");
  const chip = (pane, label, className = "") => make("span", `chip n${pane.node.number} ${className}`, label);
  line.replaceChildren(chip(from, `Node ${from.node.number} ${TAGS[reach](room)}`), make("span", "quote", `“${text}”`), make("span", "", arrived.length || missing.size ? "reached" : "has no member to reach"));
  for (const { pane, took } of arrived) line.append(chip(pane, `Node ${pane.node.number} in ${milliseconds(took)}`));
}

// A spark from the node that was told to the node that delivered, along the wires.
function spark(number, to) {
  const from = panes.find((pane) => pane.node.number === number);
  const wires = document.querySelector(".wires");
  if (calm.matches || !from || wires.offsetHeight === 0 || document.hidden) return;
  const x = (pane) => pane.stem.offsetLeft + pane.stem.offsetWidth / 2;
  const [bottom, top] = [wires.offsetHeight, to.stem.offsetTop + 1];
  const dot = make("span", `spark n${number}`);
  wires.append(dot);
  const at = (left, y, offset) => ({ transform: `translate(${left}px, ${y}px)`, offset });
  const path = from === to ? [at(x(from), bottom, 0), at(x(from), top, 0.5), at(x(to), bottom, 1)] : [at(x(from), bottom, 0), at(x(from), top, 0.25), at(x(to), top, 0.75), at(x(to), bottom, 1)];
  dot.animate(path, { duration: 700, easing: "ease-in-out" }).finished.finally(() => {
    dot.remove();
    to.stem.classList.add("lit");
    setTimeout(() => to.stem.classList.remove("lit"), 350);
  });
}

// What a visitor should have seen after ten seconds.
async function tour() {
  $("tour").disabled = true;
  const [one, two, three] = panes;
  const step = async (pane, reach, room, text) => {
    pane.reach = reach;
    if (room) pane.target.value = room;
    pane.describe();
    pane.say(text);
    await wait(2000);
  };
  await step(one, "everyone", "", "Hello from node 1, to all of you");
  await step(two, "others", "", "Node 2 here. Everyone hears this but me");
  await Promise.all([two.toggle("brass", true), three.toggle("brass", true)]);
  await wait(700);
  await step(one, "room", "brass", "Trumpets ready? (only nodes 2 and 3 are in this room)");
  for (const pane of panes) pane.reach = "everyone";
  await step(three, "everyone", "", "Your turn: type in any pane");
  for (const pane of panes) pane.enable();
  one.text.focus();
}

// A hundred messages at once, counted: none lost, none twice.
async function volley() {
  const count = 100;
  const expected = count * panes.length;
  const times = [];
  $("burst").disabled = $("tour").disabled = true;
  for (const pane of panes) pane.reach = "everyone";
  const start = performance.now();
  await new Promise((done) => {
    burst = { arrived: (took) => { if (took !== undefined && times.push(took) === expected) done(); } };
    for (let n = 0; n < count; n++) panes[n % panes.length].say(`${n + 1} of ${count}`);
    setTimeout(done, 5000);
  });
  burst = null;
  const all = performance.now() - start;
  times.sort((a, b) => a - b);
  const at = (share) => milliseconds(times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0);
  const line = make("span", "", "");
  line.append(make("b", "", `${count} messages`), ` from three nodes became `, make("b", "", `${times.length} of ${expected} deliveries`), ` in ${milliseconds(all)}: half within ${at(0.5)}, the last after ${at(1)}`);
  $("last").replaceChildren(line);
  for (const pane of panes) pane.enable();
}

// Without the bundle the page says how to get it, with the reason that the node gives.
async function explain_absence() {
  const reason = await fetch("/socket.io/socket.io.js").then((answer) => answer.text()).catch(() => "the node does not answer");
  const notice = $("notice");
  notice.hidden = false;
  notice.append(make("b", "", "The JavaScript client is not part of this binary. "), `The node says: ${reason.slice(0, 300)} `, make("br"), "To get it, build with npm on the PATH and a network, or set ");
  notice.append(make("code", "", "FANFARE_CLIENT_DIST"), " to the ", make("code", "", "dist"), " directory of the npm package ", make("code", "", "socket.io-client"), " and build again.");
}

const panes = [];
for (const label of document.querySelectorAll("[data-bus]")) label.textContent = bus;
$("bus").textContent = bus.replace(/^the /, "");
if (typeof io === "function") {
  for (const [index, node] of nodes.entries()) panes.push(new Pane(node, index));
  $("tour").addEventListener("click", tour);
  $("burst").addEventListener("click", volley);
  $("clear").addEventListener("click", () => panes.forEach((pane) => pane.clear()));
  window.demo = { panes, flights }; // for the curious, in the console
} else {
  explain_absence();
}
