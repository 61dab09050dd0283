// `fanfare-load`: it counts what arrives, and its exit code says whether all of it did.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { Server as Reference } from "socket.io";
import { redis } from "./testbed/backends.mjs";
import { freePort } from "./testbed/child.mjs";
import { binary, Cluster } from "./testbed/cluster.mjs";
import { load } from "./testbed/load.mjs";
import { Proxy } from "./testbed/proxy.mjs";
import { Server } from "./testbed/server.mjs";
import { until } from "./testbed/wait.mjs";

/** Each transport, to one node and to all of them in turn. */
const WAYS = {
  websocket: ["--transport", "websocket"],
  polling: ["--transport", "polling"],
  upgrade: ["--transport", "upgrade"],
  "polling without affinity": ["--transport", "polling", "--no-affinity"],
  "upgrade without affinity": ["--transport", "upgrade", "--no-affinity"],
};

let backend, cluster;
before(async () => {
  backend = await redis();
  cluster = await Cluster.start({ backend });
});
after(async () => {
  await cluster?.stop();
  await backend?.stop();
});

const urls = (nodes = cluster.nodes) => nodes.map((node) => node.url);

const fanout = (flags, during, targets = urls()) => load("fanout", targets, ["--event", "announce", ...flags], during);

/** Starts the reference server in this process, with what `application` does with each client. */
async function referenceWith(application) {
  const server = new Reference(0);
  server.on("connection", (socket) => application(socket, server));
  if (!server.httpServer.listening) await once(server.httpServer, "listening");
  return { server, port: server.httpServer.address().port, url: `http://127.0.0.1:${server.httpServer.address().port}`, stop: () => server.close() };
}

/** The application that all peers have. */
function peer(socket, server) {
  socket.on("join", (room) => socket.join(room));
  socket.on("pub", (message) => server.emit("msg", message));
  socket.on("pubroom", (room, message) => server.to(room).emit("msg", message));
  socket.on("echo", (argument, ack) => ack(argument));
}

/** The sum of a metric over the nodes. */
const total = async (name, nodes = cluster.nodes) => (await Promise.all(nodes.map((node) => node.metric(name)))).reduce((sum, one) => sum + one, 0);

/** Every message came to everybody, once and in order, and nobody was disconnected. */
function assertClean({ code, report }, published, connections) {
  const { expected, delivered, lost, missed, duplicate, out_of_order, disconnected, reconnects } = report;
  assert.deepEqual(
    { published: report.published, expected, delivered, lost, missed, duplicate, out_of_order, disconnected, reconnects },
    { published, expected: published * connections, delivered: published * connections, lost: 0, missed: 0, duplicate: 0, out_of_order: 0, disconnected: 0, reconnects: 0 },
  );
  assert.ok(report.latency_ms.p50 > 0 && report.latency_ms.p50 <= report.latency_ms.p99 && report.latency_ms.p99 <= report.latency_ms.max);
  assert.equal(code, 0);
}

describe("a fan-out over three nodes loses, repeats and swaps nothing, and exits with 0", () => {
  for (const [way, flags] of Object.entries(WAYS)) {
    test(way, async () => {
      const count = () => Promise.all(["fanfare_session_requests_total", "fanfare_forwarded_here_total", "fanfare_upgrades_total"].map((name) => total(name)));
      const before = await count();
      assertClean(await fanout([...flags, "--connections", "60", "--publishers", "3", "--rate", "300", "--duration", "2"]), 600, 60);
      const [answered, forwarded, upgrades] = (await count()).map((now, i) => now - before[i]);
      assert.equal(upgrades, way.startsWith("upgrade") ? 63 : 0);
      // One that was handed on is counted where it arrived, and where it was answered.
      if (way.endsWith("without affinity")) assert.ok(forwarded >= 0.6 * (answered - forwarded), `${forwarded} of ${answered - forwarded} requests were handed on`);
      else assert.equal(forwarded, 0);
      assert.equal(answered > 0, way !== "websocket");
    });
  }

  test("publishers may have another transport, and each server's CPU time is told", async () => {
    const before = await total("fanfare_upgrades_total");
    const flags = ["--transport", "polling", "--publisher-transport", "upgrade", "--server-pids", `${process.pid},${process.ppid}`];
    const { code, report } = await fanout([...flags, "--connections", "6", "--publishers", "2", "--rate", "100", "--duration", "1"]);
    assertClean({ code, report }, 100, 6);
    assert.equal((await total("fanfare_upgrades_total")) - before, 2);
    const [own, parent] = report.server_cpu_us_per_delivery_by_pid;
    assert.equal(own + parent, report.server_cpu_us_per_delivery);
  });
});

// Each has a cluster of its own.
describe("clients come back when their node is killed", { concurrency: true }, () => {
  for (const [way, flags] of Object.entries({
    websocket: WAYS.websocket,
    polling: WAYS.polling,
    upgrade: WAYS.upgrade,
    // A poll of the others that was on its way through the node is sent again; a POST would not be.
    "polling without affinity": [...WAYS["polling without affinity"], "--publisher-transport", "websocket"],
  })) {
    test(`${way}: the others notice nothing, and what they missed is not lost`, async () => {
      const nodes = await Cluster.start({ backend, environment: { FANFARE_CLUSTER__NAME: `killed-${way.replaceAll(" ", "-")}` } });
      try {
        // Not what comes over the backend: nodes have something to tell each other before all clients are there.
        const events = await total("fanfare_events_in_total", nodes.nodes);
        const { code, report } = await fanout([...flags, "--reconnect", "--connections", "60", "--rate", "50", "--duration", "5", "--patience", "2"], async () => {
          await until("messages flow", async () => (await total("fanfare_events_in_total", nodes.nodes)) > events + 25, { within: 30_000 });
          await nodes.kill(2);
        }, urls(nodes.nodes));
        const { lost, duplicate, out_of_order, disconnected, reconnects, missed } = report;
        const wanted = { lost: 0, duplicate: 0, out_of_order: 0, disconnected: 0, reconnects: 20 };
        assert.deepEqual({ lost, duplicate, out_of_order, disconnected, reconnects }, wanted, JSON.stringify(report));
        // Who came back was away for half a second at least.
        assert.ok(missed >= 20 * reconnects && report.away_ms.p50 >= 500, JSON.stringify(report));
        assert.equal(report.delivered + missed, report.expected);
        assert.ok(report.first_end);
        assert.equal(code, 0);
      } finally {
        await nodes.stop();
      }
    });
  }
});

describe("clients come back", () => {
  test("while messages flow, and upgrade: nothing is lost, repeated or swapped by that", async () => {
    const [direct, behind] = cluster.nodes;
    const proxy = await Proxy.start(behind.public.port);
    try {
      const before = await total("fanfare_upgrades_total");
      const { code, report } = await fanout(["--transport", "upgrade", "--reconnect", "--connections", "60", "--rate", "400", "--duration", "7", "--patience", "2"], async () => {
        for (const expected of [61, 91]) {
          await until("all have upgraded", async () => (await total("fanfare_upgrades_total")) >= before + expected, { within: 60_000 });
          proxy.cut();
        }
      }, [direct.url, proxy.url]);
      const { lost, duplicate, out_of_order, disconnected } = report;
      assert.deepEqual({ lost, duplicate, out_of_order, disconnected }, { lost: 0, duplicate: 0, out_of_order: 0, disconnected: 0 }, JSON.stringify(report));
      assert.ok(report.reconnects > 30 && report.missed > 0, JSON.stringify(report));
      assert.equal(code, 0);
    } finally {
      proxy.stop();
    }
  });

  test("only if they are told to: else what came after their end is lost", async () => {
    const [direct, behind] = cluster.nodes;
    const proxy = await Proxy.start(behind.public.port);
    try {
      const received = await total("fanfare_cluster_received_total");
      const { code, report } = await fanout(["--connections", "6", "--rate", "100", "--duration", "3", "--patience", "1"], async () => {
        await until("messages flow", async () => (await total("fanfare_cluster_received_total")) > received + 50);
        proxy.cut();
      }, [direct.url, proxy.url]);
      assert.deepEqual([report.disconnected, report.reconnects, report.missed], [3, 0, 0], JSON.stringify(report));
      assert.ok(report.lost > 0);
      assert.equal(report.delivered + report.lost, report.expected);
      assert.equal(code, 1);
    } finally {
      proxy.stop();
    }
  });
});

test("a message that is lost is counted, and makes the exit code 1, whether clients come back or not", async () => {
  const other = await Cluster.start({ backend, environment: { FANFARE_CLUSTER__NAME: "lost" } });
  try {
    const groups = [cluster.nodes, other.nodes];
    const each = (name) => Promise.all(groups.map((nodes) => total(name, nodes)));
    const flow = await each("fanfare_cluster_received_total");
    const dropped = await each("fanfare_adapter_dropped_total");
    const beyond = async (name, before, by) => (await each(name)).every((now, i) => now > before[i] + by);
    const outage = async () => {
      await until("messages flow between the nodes", () => beyond("fanfare_cluster_received_total", flow, 50), { within: 30_000 });
      await backend.kill();
      // The nodes keep what they publish for a second; a shorter outage would lose nothing.
      await until("the publishers' nodes give messages up", () => beyond("fanfare_adapter_dropped_total", dropped, 0));
      await backend.start();
    };
    const flags = ["--connections", "6", "--rate", "100", "--duration", "4", "--patience", "2"];
    const runs = await Promise.all([fanout(flags, outage), fanout([...flags, "--reconnect"], undefined, urls(other.nodes))]);
    for (const { code, report } of runs) {
      assert.ok(report.lost > 0 && report.delivered > 0, JSON.stringify(report));
      // The sessions lived on: none of it was missed.
      assert.deepEqual([report.reconnects, report.missed, report.disconnected], [0, 0, 0]);
      assert.equal(report.delivered + report.lost, report.expected);
      assert.equal(code, 1);
    }
  } finally {
    await other.stop();
  }
});

describe("what a server does wrong is counted, and makes the exit code 1; names that need escaping are no such thing", { concurrency: true }, () => {
  let server, url;
  before(async () => {
    let held;
    server = await referenceWith((socket, server) => {
      socket.on("repeated", (message) => server.emit("repeated", message) && server.emit("repeated", message));
      // The first two of them.
      socket.on("swapped", (message) => {
        if (held === undefined) return void (held = message);
        server.emit("swapped", message);
        if (held) server.emit("swapped", held);
        held = null;
      });
      socket.on('a"b', (message) => server.emit('a"b', message));
      socket.on("wrong", (_, ack) => ack("something else"));
      socket.on("unexpected", (argument, ack) => {
        ack(argument);
        // An ack of what nobody emitted.
        socket.packet({ type: 3, id: 1_000_000_000, data: [] });
      });
      socket.on("join", (room) => socket.join(room));
      socket.on("everywhere", (room, message) => server.emit("everywhere", message));
    });
    url = server.url;
  });
  after(() => server?.stop());

  for (const [event, counted] of [["repeated", "duplicate"], ["swapped", "out_of_order"]]) {
    test(`messages: ${counted}`, async () => {
      const { code, report } = await load("fanout", [url], ["--event", event, "--connections", "2", "--rate", "20", "--duration", "1"]);
      assert.deepEqual([report.delivered, report.lost], [40, 0], JSON.stringify(report));
      assert.ok(report[counted] > 0, JSON.stringify(report));
      assert.equal(code, 1);
    });
  }

  test("messages: stray", async () => {
    const flags = ["--event", "everywhere", "--publish-event", "everywhere", "--connections", "6", "--rooms", "3", "--rate", "20", "--duration", "1"];
    const { code, report } = await load("rooms", [url], flags);
    assert.deepEqual([report.delivered, report.lost, report.stray], [40, 0, 80], JSON.stringify(report));
    assert.equal(code, 1);
  });

  test("a room that nobody gets into", async () => {
    const flags = ["--join-event", "enter", "--publish-event", "everywhere", "--event", "nothing", "--connections", "4", "--rooms", "2"];
    await assert.rejects(load("rooms", [url], flags), /ended with 69: fanfare-load: 4 of 4 clients did not receive what .* `enter\(room\)`/);
  });

  test("messages of an event with a quotation mark in its name: nothing", async () => {
    assertClean(await load("fanout", [url], ["--event", 'a"b', "--connections", "2", "--rate", "20", "--duration", "1"]), 20, 2);
  });

  for (const event of ["wrong", "unexpected"]) {
    test(`acks: ${event}`, async () => {
      const { code, report } = await load("echo", [url], ["--event", event, "--connections", "2", "--duration", "0.3"]);
      assert.deepEqual([report.lost, report.disconnected, report[event] > 0], [0, 0, true], JSON.stringify(report));
      assert.equal(code, 1);
    });
  }
});

/** As many under way as there should be, all of which came to everybody; each message to `receivers`. */
function assertClosed({ code, report }, places, receivers) {
  const { in_flight, given_up, overrun, lost, missed, duplicate, out_of_order, disconnected } = report;
  assert.deepEqual({ in_flight, given_up, overrun, lost, missed, duplicate, out_of_order, disconnected }, { in_flight: places, given_up: 0, overrun: 0, lost: 0, missed: 0, duplicate: 0, out_of_order: 0, disconnected: 0 });
  assert.ok(report.published > 2 * places, JSON.stringify(report));
  assert.deepEqual([report.expected, report.delivered], [report.published * receivers, report.published * receivers]);
  assert.ok(report.latency_ms.p50 > 0 && report.delivered_per_second > 0, JSON.stringify(report));
  assert.equal(code, 0);
}

describe("a closed loop", () => {
  for (const [way, flags] of Object.entries(WAYS)) {
    test(`publishes the next message when all have had one, over three nodes, ${way}`, async () => {
      assertClosed(await fanout([...flags, "--connections", "20", "--publishers", "3", "--in-flight", "8", "--duration", "2"]), 8, 20);
    });
  }

  test("of messages that come back by another name", async () => {
    const server = await referenceWith(peer);
    try {
      assertClosed(await load("fanout", [server.url], ["--publish-event", "pub", "--connections", "10", "--publishers", "5", "--in-flight", "2", "--duration", "1"]), 2, 10);
    } finally {
      server.stop();
    }
  });

  test("gives up what does not come, and goes on", async () => {
    let count = 0;
    const server = await referenceWith((socket, server) => socket.on("msg", (message) => ++count % 10 && server.emit("msg", message)));
    try {
      const { code, report } = await load("fanout", [server.url], ["--connections", "4", "--in-flight", "2", "--duration", "2", "--patience", "0.3"]);
      assert.ok(report.given_up >= 4 && report.published > 9 * report.given_up, JSON.stringify(report));
      assert.deepEqual([report.lost, report.delivered + report.lost], [4 * report.given_up, report.expected], JSON.stringify(report));
      assert.equal(code, 1);
    } finally {
      server.stop();
    }
  });

  test("goes on when clients are away, and when they come back", async () => {
    const [direct, behind] = cluster.nodes;
    const proxy = await Proxy.start(behind.public.port);
    try {
      const received = await total("fanfare_cluster_received_total");
      const { code, report } = await fanout(["--reconnect", "--connections", "20", "--in-flight", "4", "--duration", "4"], async () => {
        await until("messages flow", async () => (await total("fanfare_cluster_received_total")) > received + 50);
        proxy.cut();
      }, [direct.url, proxy.url]);
      const { given_up, lost, duplicate, out_of_order, disconnected, reconnects } = report;
      assert.deepEqual({ given_up, lost, duplicate, out_of_order, disconnected, reconnects }, { given_up: 0, lost: 0, duplicate: 0, out_of_order: 0, disconnected: 0, reconnects: 10 }, JSON.stringify(report));
      assert.ok(report.missed > 0, JSON.stringify(report));
      assert.equal(report.delivered + report.missed, report.expected);
      assert.equal(code, 0);
    } finally {
      proxy.stop();
    }
  });
});

describe("rooms: what is published in one comes to all of its members, and to nobody else", { concurrency: true }, () => {
  let server;
  before(async () => {
    server = await referenceWith(peer);
  });
  after(() => server?.stop());

  for (const way of ["websocket", "polling", "upgrade"]) {
    test(`in a closed loop, ${way}`, async () => {
      const result = await load("rooms", [server.url], [...WAYS[way], "--connections", "20", "--rooms", "4", "--in-flight", "6", "--duration", "1"]);
      assertClosed(result, 6, 5);
      assert.deepEqual([result.report.rooms, result.report.stray], [4, 0]);
    });
  }

  test("at a rate, of rooms that differ in size", async () => {
    const { code, report } = await load("rooms", [server.url], ["--connections", "10", "--rooms", "4", "--rate", "40", "--duration", "2"]);
    // 8 messages from each of 10 clients; two rooms of three and two of two.
    assert.deepEqual([report.published, report.expected, report.delivered, report.lost, report.stray], [80, 208, 208, 0, 0], JSON.stringify(report));
    assert.deepEqual([report.in_flight, code], [null, 0]);
  });

  test("what a member was to publish and cannot any more is told, and makes the exit code 1", async () => {
    let victim;
    const server = await referenceWith((socket, server) => {
      peer(socket, server);
      victim ??= socket.id;
      let published = 0;
      // The first message may be that which proves that it is in its room.
      socket.on("pubroom", () => {
        published += 1;
        if (socket.id === victim && published > 2) socket.disconnect(true);
      });
    });
    try {
      const { code, report } = await load("rooms", [server.url], ["--rooms", "1", "--connections", "4", "--rate", "40", "--duration", "1", "--patience", "0.5"]);
      assert.deepEqual([code, report.disconnected, report.published + report.unsent], [1, 1, 40], JSON.stringify(report));
      assert.ok(report.unsent >= 5 && report.unsent <= 8 && report.overrun >= report.unsent, JSON.stringify(report));
    } finally {
      server.stop();
    }
  });

  for (const pace of [["--in-flight", "4"], ["--rate", "200", "--patience", "2"]]) {
    test(`whose members come back, ${pace[0]}`, async () => {
      let published = 0;
      const server = await referenceWith((socket, server) => {
        peer(socket, server);
        socket.on("pubroom", () => (published += 1));
      });
      const proxy = await Proxy.start(server.port);
      try {
        const flags = ["--reconnect", "--connections", "12", "--rooms", "3", "--duration", "4", ...pace];
        const { code, report } = await load("rooms", [server.url, proxy.url], flags, async () => {
          // More than prove that everybody is in.
          await until("messages flow", () => published > 100);
          proxy.cut();
        });
        const { lost, stray, duplicate, out_of_order, disconnected, reconnects } = report;
        assert.deepEqual({ lost, stray, duplicate, out_of_order, disconnected, reconnects }, { lost: 0, stray: 0, duplicate: 0, out_of_order: 0, disconnected: 0, reconnects: 6 }, JSON.stringify(report));
        assert.ok(report.missed > 0 && report.delivered + report.missed === report.expected, JSON.stringify(report));
        assert.equal(code, 0);
      } finally {
        proxy.stop();
        server.stop();
      }
    });
  }
});

describe("clients say goodbye at the end of a run, so that no session waits for a timeout", () => {
  for (const way of ["websocket", "polling", "upgrade"]) {
    test(way, async () => {
      const reasons = [];
      const server = await referenceWith((socket, server) => {
        peer(socket, server);
        socket.on("disconnect", (reason) => reasons.push(reason));
      });
      try {
        const flags = [...WAYS[way], "--connections", "5", "--in-flight", "2", "--duration", "0.5"];
        await load("fanout", [server.url], ["--publish-event", "pub", "--publishers", "2", ...flags]);
        await load("fanout", [server.url], ["--publish-event", "pub", ...WAYS[way], "--connections", "5", "--rate", "20", "--duration", "0.5"]);
        await load("rooms", [server.url], ["--rooms", "2", ...flags]);
        await load("echo", [server.url], flags);
        await until("no session is left", () => server.server.engine.clientsCount === 0, { within: 5_000 });
        assert.equal(reasons.length, 7 + 6 + 5 + 5);
        // Over polling both packets come with one POST, and the reference sees the end of the session first.
        assert.deepEqual(new Set(reasons), new Set([way === "polling" ? "transport close" : "client namespace disconnect"]));
      } finally {
        server.stop();
      }
    });
  }
});

// They go to nobody but who emitted the event.
describe("acks", { concurrency: true }, () => {
  for (const [way, flags] of Object.entries(WAYS)) {
    test(`each comes once and in time, and the next event follows it, ${way}`, async () => {
      const { code, report } = await load("echo", urls(), [...flags, "--connections", "12", "--in-flight", "30", "--duration", "2"]);
      const { acked, lost, missed, late, unexpected, wrong, disconnected } = report;
      assert.deepEqual({ acked, lost, missed, late, unexpected, wrong, disconnected }, { acked: report.emitted, lost: 0, missed: 0, late: 0, unexpected: 0, wrong: 0, disconnected: 0 });
      assert.ok(acked > 30 && report.acked_per_second > 0, JSON.stringify(report));
      assert.ok(report.latency_ms.p50 > 0 && report.latency_ms.p50 <= report.latency_ms.p99 && report.latency_ms.p99 <= report.latency_ms.max);
      assert.equal(code, 0);
    });
  }

  test("however few the events are, all connections have their turn", async () => {
    const asked = new Map();
    const server = await referenceWith((socket, server) => {
      peer(socket, server);
      socket.on("echo", () => asked.set(socket.id, (asked.get(socket.id) ?? 0) + 1));
    });
    try {
      const { code, report } = await load("echo", [server.url], ["--connections", "7", "--in-flight", "1", "--duration", "1"]);
      assert.deepEqual([code, report.lost, report.acked], [0, 0, [...asked.values()].reduce((sum, count) => sum + count, 0)]);
      const counts = [...asked.values()];
      assert.equal(counts.length, 7, JSON.stringify(counts));
      assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, JSON.stringify(counts));
    } finally {
      server.stop();
    }
  });

  test("a connection that is lost when nothing is under way on it makes the exit code 1, and the others go on", async () => {
    let victim;
    const server = await referenceWith((socket) => {
      socket.on("echo", (argument, ack) => {
        ack(argument);
        victim ??= socket.id;
        // The one event there is has its ack before.
        if (victim === socket.id) socket.disconnect(true);
      });
    });
    try {
      const { code, report } = await load("echo", [server.url], ["--connections", "3", "--in-flight", "1", "--duration", "1"]);
      assert.deepEqual([code, report.disconnected, report.lost, report.ends.disconnected + report.ends.closed], [1, 1, 0, 1], JSON.stringify(report));
      assert.ok(report.acked === report.emitted && report.acked > 1, JSON.stringify(report));
    } finally {
      server.stop();
    }
  });

  test("those that nobody sends are lost, and make the exit code 1", async () => {
    const { code, report } = await load("echo", urls(), ["--event", "unanswered", "--connections", "3", "--in-flight", "5", "--duration", "2", "--patience", "0.6"]);
    assert.equal(report.lost, report.emitted);
    // At 0, 0.6, 1.2 and 1.8 s, or later.
    assert.ok(report.emitted > 5 && report.emitted <= 20, JSON.stringify(report));
    assert.equal(code, 1);
  });
});

describe("acks that do not come", () => {
  test("those under way when sessions end are missed by clients that come back", async () => {
    const [direct, behind] = cluster.nodes;
    const proxy = await Proxy.start(behind.public.port);
    try {
      const events = await total("fanfare_events_in_total");
      const { code, report } = await load("echo", [direct.url, proxy.url], ["--reconnect", "--connections", "10", "--in-flight", "100", "--duration", "3"], async () => {
        await until("events flow", async () => (await total("fanfare_events_in_total")) > events + 500);
        proxy.cut();
      });
      const { lost, late, unexpected, wrong, disconnected, reconnects } = report;
      assert.deepEqual({ lost, late, unexpected, wrong, disconnected, reconnects }, { lost: 0, late: 0, unexpected: 0, wrong: 0, disconnected: 0, reconnects: 5 });
      // How many of those under way are with which clients is a matter of chance.
      assert.ok(report.missed > 0 && report.missed <= 100, JSON.stringify(report));
      assert.equal(report.acked + report.missed, report.emitted);
      assert.equal(code, 0);
    } finally {
      proxy.stop();
    }
  });
});

/** A proxy whose connections of now fall silent when it is told so, and stay open. */
class Muting extends Proxy {
  #muted = new Set();
  #near = new Set();
  /** Whether a message has passed. */
  passed = false;

  downstream(near) {
    this.#near.add(near);
    return (data) => {
      this.passed ||= data.includes("announce");
      if (!this.#muted.has(near)) near.write(data);
    };
  }

  mute() {
    this.#muted = new Set(this.#near);
  }
}

/** A way to a server that takes up each connection late. */
async function late(port, delay) {
  const server = createServer((near) => {
    setTimeout(() => {
      const far = connect(port, "127.0.0.1");
      for (const [from, to] of [[near, far], [far, near]]) from.on("error", () => to.destroy()).pipe(to);
    }, delay);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => server.close() };
}

// Each has a server of its own: what one publishes is not for the others.
describe("the reference server", { concurrency: true }, () => {
  /** A test with a server where a session without pongs lives for 2.3 s. */
  const story = (name, tell) => test(name, async () => {
    const server = await Server.start("reference", { "ping-interval": 300, "ping-timeout": 2_000 });
    try {
      await tell(server);
    } finally {
      await server.stop();
    }
  });

  for (const way of ["websocket", "polling", "upgrade"]) {
    story(`serves it as well, and has its pings answered, ${way}`, async (server) => {
      assertClean(await fanout([...WAYS[way], "--connections", "20", "--rate", "50", "--duration", "3"], undefined, [server.url]), 150, 20);
      const { code, report } = await load("echo", [server.url], [...WAYS[way], "--event", "message-with-ack", "--connections", "4", "--duration", "1"]);
      assert.ok(report.acked > 4 && report.acked === report.emitted, JSON.stringify(report));
      assert.equal(code, 0);
    });
  }

  story("has its pings answered while others are still connecting", async (server) => {
    const slow = await late(server.port, 3_000);
    try {
      assertClean(await fanout(["--connections", "3", "--publishers", "2", "--rate", "20", "--duration", "1"], undefined, [server.url, slow.url]), 20, 3);
    } finally {
      slow.stop();
    }
  });

  for (const way of ["websocket", "polling"]) {
    story(`falls silent: its sessions end, and their clients come back, ${way}`, async (server) => {
      const proxy = await Muting.start(Number(new URL(server.url).port));
      try {
        const { code, report } = await fanout([...WAYS[way], "--reconnect", "--connections", "6", "--rate", "20", "--duration", "6", "--patience", "2"], async () => {
          // Then all clients are there.
          await until("messages flow", () => proxy.passed);
          proxy.mute();
        }, [server.url, proxy.url]);
        assert.deepEqual([report.reconnects, report.disconnected, report.lost, report.first_end], [3, 0, 0, "no ping within 2.3 s"], JSON.stringify(report));
        assert.ok(report.missed > 0);
        assert.equal(code, 0);
      } finally {
        proxy.stop();
      }
    });
  }
});

test("a server that is not there, and flags that contradict each other, are said to be so", async () => {
  const run = (...flags) => spawnSync(binary("fanfare-load"), flags, { encoding: "utf8" });
  const gone = `http://127.0.0.1:${await freePort()}`;
  const unreachable = run("fanout", "--targets", `${urls()[0]},${gone}`, "--no-affinity", "--transport", "polling");
  assert.deepEqual([unreachable.status, unreachable.stderr.startsWith(`fanfare-load: cannot connect to ${gone.slice(7)}: `)], [69, true], unreachable.stderr);
  const contradictory = run("echo", "--targets", urls()[0], "--no-affinity", "--transport", "polling");
  assert.equal(contradictory.status, 2);
  assert.match(contradictory.stderr, /--no-affinity needs two --targets/);
});

test("a run that could not be made fails with the reason, and one whose story fails ends", async () => {
  const gone = `http://127.0.0.1:${await freePort()}`;
  await assert.rejects(load("fanout", [gone], []), new RegExp(`^Error: fanfare-load ended with 69: fanfare-load: cannot connect to ${gone.slice(7)}: `));
  let pid;
  const failing = fanout(["--duration", "60"], (id) => {
    pid = id;
    throw new Error("the story fails");
  });
  await assert.rejects(failing, /^Error: the story fails$/);
  assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
});
