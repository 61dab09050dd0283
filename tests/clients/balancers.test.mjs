// The recipes of k8s/balancers with the real programs: each keeps every client at its node, and goes on when a node dies.

import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, createServer, request } from "node:http";
import { after, afterEach, before, describe, test } from "node:test";
import { haproxy, nginx, redis } from "./testbed/backends.mjs";
import { connected, record, tagOf } from "./testbed/clients.mjs";
import { Cluster } from "./testbed/cluster.mjs";
import { soon, until } from "./testbed/wait.mjs";

const CLIENTS = 60;
/** Of those who do not let the balancer know them. */
const STRAYS = 12;
/** Of so many clients a node has some, by chance or by turns. */
const SHARE = 5;
/** Sessions that a node allows to one address: as many come from the balancer's, if the nodes do not believe it. */
const PER_ADDRESS = 3;
const PATIENCE = 30_000;
const POLLING = "/socket.io/?EIO=4&transport=polling";

const recipes = [
  { recipe: "haproxy-cookie.cfg", start: haproxy, cookie: "io", names: /^(node\d)~/ },
  { recipe: "haproxy-hash.cfg", start: haproxy },
  { recipe: "nginx-cookie.conf", start: nginx, cookie: "fanfare_node", names: /^(\d)$/ },
  { recipe: "nginx-hash.conf", start: nginx },
];

/** A client's address of its own: 127.1.0.1 and so on. */
const address = (network, i) => `127.${network}.0.${i + 1}`;

/** Connects from another address of its network each time. */
class Wandering extends Agent {
  #network;
  #connections = 0;

  constructor(network) {
    super();
    this.#network = network;
  }

  createConnection(options, connected) {
    return super.createConnection({ ...options, localAddress: address(this.#network, this.#connections++ % 200) }, connected);
  }
}

for (const { recipe, start, cookie, names } of recipes) {
  describe(`three nodes over Redis behind ${recipe}`, () => {
    let backend, cluster, balancer;
    const sockets = new Set();

    before(async () => {
      backend = await redis();
      const environment = {
        FANFARE_COOKIE__ENABLED: "true",
        FANFARE_SERVER__TRUSTED_PROXIES: "127.0.0.1",
        FANFARE_LIMITS__SESSIONS_PER_ADDRESS: `${PER_ADDRESS}`,
      };
      cluster = await Cluster.start({ backend, environment });
      balancer = await start(cluster.nodes, recipe);
    });
    afterEach(async () => {
      cluster.assertAlive();
      await allLeave();
    });
    after(async () => {
      await balancer?.stop();
      await cluster?.stop();
      await backend?.stop();
    });

    async function allLeave() {
      for (const socket of sockets) socket.disconnect();
      sockets.clear();
      await until("the nodes have no sessions", async () => (await sum("fanfare_sessions")) === 0);
    }

    async function sum(metric) {
      const values = await Promise.all(cluster.nodes.map((node) => node.metric(metric)));
      return values.reduce((a, b) => a + b);
    }

    const connect = (options) => connected(`http://127.0.0.1:${balancer.port}/`, options, sockets);

    /** Stock clients, each from an address of its own, which the balancer can know by it or by their cookie. */
    const crowd = (transports, options) =>
      Promise.all(
        Array.from({ length: CLIENTS }, (_, i) => {
          const agent = new Agent({ localAddress: address(1, i) });
          return connect({ transports, agent, withCredentials: Boolean(cookie), ...options });
        }),
      );

    /** Clients that it cannot know: without cookies, or with another address for every connection. */
    const strays = (transports) =>
      Promise.all(Array.from({ length: STRAYS }, (_, i) => connect({ transports, agent: new Wandering(100 + i) })));

    /** One request of a session, or without an id the handshake of one, which sends no cookie but those in `headers`. */
    const engine = ({ sid, ...options }) => ask(balancer.port, { ...options, path: POLLING + (sid ? `&sid=${sid}` : "") });

    async function everybodyHears(clients) {
      const heard = clients.map((socket) => record(socket, "announce"));
      for (const socket of clients.slice(0, 3)) socket.emit("announce", socket.id);
      await until("all clients have all events", () => heard.every((events) => events.length >= 3), { within: PATIENCE });
      const all = clients.slice(0, 3).map(({ id }) => id).sort();
      for (const events of heard) assert.deepEqual(events.flat().sort(), all);
    }

    const echoes = (clients, times) =>
      Promise.all(
        clients.map(async (socket, i) => {
          for (let n = 0; n < times; n++) assert.deepEqual(await socket.timeout(PATIENCE).emitWithAck("echo", [i, n]), [i, n]);
        }),
      );

    for (const [way, transports] of [
      ["polling", ["polling"]],
      ["polling with upgrade", ["polling", "websocket"]],
    ]) {
      test(`${CLIENTS} clients, ${way}: on all nodes, and no request reaches another than its own`, async () => {
        const [answered, forwarded] = [await sum("fanfare_session_requests_total"), await sum("fanfare_forwarded_here_total")];
        const clients = await crowd(transports);
        const wanted = transports.at(-1);
        await until("all clients have their transport", () => clients.every(({ io }) => io.engine.transport.name === wanted), { within: PATIENCE });
        await echoes(clients, 3);
        await everybodyHears(clients);
        const tags = clients.map(tagOf);
        const sizes = [...new Set(tags)].map((one) => tags.filter((tag) => tag === one).length);
        assert.ok(sizes.length === 3 && sizes.every((size) => size >= SHARE), `clients of the nodes: ${sizes}`);
        assert.ok((await sum("fanfare_session_requests_total")) >= answered + 2 * CLIENTS);
        assert.equal((await sum("fanfare_forwarded_here_total")) - forwarded, 0);
      });
    }

    test(`clients ${cookie ? "without cookies" : "whose address changes"} are handed to their nodes`, async () => {
      const forwarded = await sum("fanfare_forwarded_here_total");
      const clients = [...(await strays(["polling"])), ...(await strays(["polling", "websocket"]))];
      await echoes(clients, 5);
      await everybodyHears(clients);
      assert.ok(clients.every(({ connected }) => connected));
      assert.ok((await sum("fanfare_forwarded_here_total")) > forwarded);
    });

    test("the nodes see the address of the client, and not what it writes itself", async () => {
      const answers = [];
      for (let n = 0; n <= 3 * PER_ADDRESS; n++) {
        answers.push(await engine({ from: address(2, 0), headers: { "x-forwarded-for": address(3, n) } }));
      }
      const statuses = answers.map(({ status }) => status);
      assert.ok(statuses.indexOf(403) >= PER_ADDRESS && statuses.every((status) => [200, 403].includes(status)), `${statuses}`);
      answers.push(await engine({ from: address(2, 1) }));
      assert.equal(answers.at(-1).status, 200);
      for (const answer of answers.filter(({ status }) => status === 200)) await leave(answer);
    });

    /** Ends the session that a handshake has opened; where that is was told once, and not by who hands it on. */
    async function leave(answer) {
      const { status, headers } = await engine({ sid: sidOf(answer), method: "POST", body: "1" });
      assert.deepEqual([status, headers["set-cookie"]], [200, undefined]);
    }

    test("a node is killed: its clients come back on the others, whose own clients stay", async () => {
      const reconnecting = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 500 };
      const clients = [
        ...(await crowd(["polling"], reconnecting)),
        ...(await crowd(["polling", "websocket"], reconnecting)),
        // Their polls go through the node that dies, too, wherever their sessions are.
        ...(await strays(["polling"])),
      ];
      // The node that answers this one is to die.
      const first = await engine({});
      await leave(first);
      const tag = sidOf(first).slice(0, 4);
      const tags = await Promise.all(cluster.nodes.map(async (node) => (await (await fetch(new URL("/identity", node.internal))).json()).tag));
      const [its, others] = [clients.filter((socket) => tagOf(socket) === tag), clients.filter((socket) => tagOf(socket) !== tag)];
      const lost = [];
      for (const socket of others) socket.on("disconnect", (reason) => lost.push(`a client of ${tagOf(socket)}: ${reason}`));
      const back = its.filter(({ io }) => io.reconnection());
      for (const { io } of back) io.on("reconnect_error", (error) => lost.push(`on the way back: ${error.message}: ${error.description}`));
      const returns = back.map((socket) => once(socket, "connect"));
      await cluster.kill(tags.indexOf(tag));
      await soon("its clients come back", Promise.all(returns), PATIENCE);
      const living = [...back, ...others];
      assert.ok(living.every((socket) => socket.connected && tagOf(socket) !== tag));
      assert.ok(back.length >= 2 * SHARE);
      await echoes(living, 1);
      await everybodyHears(living);
      assert.deepEqual(lost, []);

      if (!cookie) return;
      await allLeave();
      // A browser that kept its cookie gets another with its next session, and stays where that is.
      const answer = await engine({ from: address(5, 0), headers: { cookie: cookieOf(first) } });
      const sid = sidOf(answer);
      const renewed = cookieOf(answer);
      assert.notEqual(nameIn(renewed), nameIn(cookieOf(first)));
      const forwarded = await sum("fanfare_forwarded_here_total");
      const headers = { cookie: renewed };
      for (const body of ["40", "1"]) assert.equal((await engine({ sid, method: "POST", body, headers })).status, 200);
      assert.equal((await sum("fanfare_forwarded_here_total")) - forwarded, 0);
    });

    /** The affinity cookie that an answer sets, with its value. */
    function cookieOf({ headers }) {
      const found = (headers["set-cookie"] ?? []).map((line) => line.split(";")[0]).find((pair) => pair.startsWith(`${cookie}=`));
      assert.ok(found, `no cookie ${cookie}: ${headers["set-cookie"]}`);
      return found;
    }

    /** What it calls the node. */
    function nameIn(pair) {
      return names.exec(pair.slice(cookie.length + 1))[1];
    }
  });

  test(`${recipe}: what a dying node had is asked of another if it was a GET`, async () => {
    // They stand where nodes would, since these cannot be made to die of a request; what is looked at is the balancer.
    const [nodes, seen] = [[], []];
    let dies = true;
    for (let i = 0; i < 3; i++) {
      const server = createServer((request, response) => {
        if (request.url === "/readyz") return response.end();
        seen.push(i);
        if (dies) request.socket.destroy();
        else response.writeHead(seen.length === 1 ? 503 : 200).end();
        dies = false;
      });
      await once(server.listen(0, "127.0.0.1"), "listening");
      const url = new URL(`http://127.0.0.1:${server.address().port}`);
      nodes.push({ public: url, internal: url, server });
    }
    const balancer = await start(nodes, recipe);
    try {
      assert.equal((await ask(balancer.port, { path: POLLING })).status, 200);
      assert.equal(new Set(seen.splice(0)).size, 2);
      // A handshake that is refused, too.
      assert.equal((await ask(balancer.port, { path: POLLING })).status, 200);
      assert.equal(new Set(seen.splice(0)).size, 2);
      dies = true;
      assert.equal((await ask(balancer.port, { path: `${POLLING}&sid=x`, method: "POST", body: "2" })).status, 502);
      assert.equal(seen.splice(0).length, 1);
      assert.equal((await ask(balancer.port, { path: `${POLLING}&sid=x`, method: "POST", body: "2" })).status, 503);
      assert.equal(seen.splice(0).length, 1);
    } finally {
      await balancer.stop();
      for (const { server } of nodes) server.close().closeAllConnections();
    }
  });
}

/** One HTTP request to a port of this machine, from an address of it. */
async function ask(port, { from = "127.0.0.1", path, method = "GET", body, headers }) {
  // Each over a connection of its own: on one that it has used before, HAProxy may end it without a word, and leave the rest to the client.
  const way = { host: "127.0.0.1", port, localAddress: from, agent: false };
  const sent = request({ ...way, path, method, headers: { ...headers, ...(body && { "content-type": "text/plain" }) } });
  sent.end(body);
  const [answer] = await soon(`an answer to ${method} ${path}`, once(sent, "response"));
  let text = "";
  for await (const chunk of answer) text += chunk;
  return { status: answer.statusCode, headers: answer.headers, body: text };
}

/** The id of the session that a handshake has opened. */
function sidOf({ status, body }) {
  assert.equal(status, 200);
  return JSON.parse(body.slice(1)).sid;
}
