// `fanfare-load` where connections themselves are the load: they do nothing, come and go, or all come back at once. It counts what
// becomes of them, and its exit code says whether all went well.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Server as Reference } from "socket.io";
import { scratch } from "./testbed/child.mjs";
import { binary, Node } from "./testbed/cluster.mjs";
import { load } from "./testbed/load.mjs";
import { Proxy } from "./testbed/proxy.mjs";
import { Server } from "./testbed/server.mjs";
import { until } from "./testbed/wait.mjs";

const WAYS = ["websocket", "polling", "upgrade"];

const NONE = { refused: 0, local: 0, timeout: 0, silent: 0, status: 0, closed: 0, disconnected: 0, protocol: 0 };

/** The fields of a report that `wanted` has are as they are there. */
function assertFields({ report }, wanted) {
  const got = Object.fromEntries(Object.keys(wanted).map((name) => [name, report[name]]));
  assert.deepEqual(got, wanted, JSON.stringify(report));
}

/** A story with a node of its own. */
const withNode = (name, tell, environment = {}) => test(name, async () => {
  const node = await Node.start(environment);
  try {
    await tell(node);
  } finally {
    await node.stop();
  }
});

/** A reference server in this process, which keeps what became of its sockets. */
async function reference() {
  const server = new Reference(0, { pingInterval: 300, pingTimeout: 2_000 });
  const seen = { headers: [], ends: [] };
  server.on("connection", (socket) => {
    seen.headers.push(socket.handshake.headers);
    socket.on("disconnect", (reason) => seen.ends.push(reason));
  });
  if (!server.httpServer.listening) await once(server.httpServer, "listening");
  return { seen, url: `http://127.0.0.1:${server.httpServer.address().port}`, stop: () => server.close() };
}

describe("idle", { concurrency: true }, () => {
  for (const way of WAYS) {
    withNode(`connections stay, and what they cost is told, ${way}`, async (node) => {
      const flags = ["--transport", way, "--connections", "30", "--duration", "1.5", "--server-pids", `${process.pid}`];
      const result = await load("idle", [node.url], flags, async () => {
        await until("all are connected", async () => (await node.metric("fanfare_sockets")) === 30);
      });
      assertFields(result, { scenario: "idle", transport: way, connected: 30, disconnected: 0, ended: 0, failed: 0, ends: NONE });
      const { handshake_ms, handshake_curve_ms, seconds, connected_per_second, server_cpu_us_per_connection, server_rss_anon_kib_per_connection } = result.report;
      assert.ok(handshake_ms.p50 > 0 && handshake_ms.p50 <= handshake_ms.p90 && handshake_ms.p999 <= handshake_ms.max);
      assert.deepEqual([handshake_curve_ms.length, handshake_curve_ms.at(-1)], [61, [1, handshake_ms.max]]);
      assert.ok(seconds >= 1.5 && connected_per_second > 0);
      assert.equal(result.report.upgrade_ms.p50 > 0, way === "upgrade");
      for (const number of [server_cpu_us_per_connection, server_rss_anon_kib_per_connection]) assert.equal(typeof number, "number");
      assert.equal(result.code, 0);
    });

    test(`pings of the reference are answered, and the headers are as long as they are to be, ${way}`, async () => {
      const server = await reference();
      try {
        const result = await load("idle", [server.url], ["--transport", way, "--connections", "5", "--duration", "3", "--header-bytes", "1024"]);
        assertFields(result, { connected: 5, ended: 0 });
        assert.equal(result.code, 0);
        assert.equal(server.seen.headers.length, 5);
        for (const headers of server.seen.headers) {
          const own = Object.entries(headers).filter(([name]) => ["user-agent", "accept-language", "cache-control", "pragma", "cookie"].includes(name));
          assert.equal(own.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0), 1024, JSON.stringify(headers));
        }
      } finally {
        server.stop();
      }
    });
  }

  test("a server that dies takes the sessions with it: who was disconnected is told, and the exit code is 1", async () => {
    const node = await Node.start({});
    const result = await load("idle", [node.url], ["--connections", "12", "--duration", "3"], async () => {
      await until("all are connected", async () => (await node.metric("fanfare_sockets")) === 12);
      await node.kill();
    });
    assertFields(result, { connected: 12, disconnected: 12, ended: 12, reconnects: 0, ends: { ...NONE, closed: 12 } });
    assert.equal(result.code, 1);
  });

  withNode("clients that are to come back do, and that is no flaw", async (node) => {
    const proxy = await Proxy.start(Number(node.public.port));
    try {
      const result = await load("idle", [proxy.url], ["--reconnect", "--connections", "8", "--duration", "4"], async () => {
        await until("all are connected", async () => (await node.metric("fanfare_sockets")) === 8);
        proxy.cut();
      });
      assertFields(result, { disconnected: 0, ended: 8, reconnects: 8 });
      assert.ok(result.report.away_ms.p50 >= 500);
      assert.equal(result.code, 0);
    } finally {
      proxy.stop();
    }
  });
});

describe("churn", { concurrency: true }, () => {
  for (const way of WAYS) {
    withNode(`every client comes, stays, and goes, ${way}`, async (node) => {
      const result = await load("churn", [node.url], ["--transport", way, "--rate", "40", "--duration", "1.5", "--lifetime", "0.3", "--server-pids", `${process.pid}`]);
      assertFields(result, { scenario: "churn", arrivals: 60, connected: 60, disconnected: 0, deserted: 0, failed: 0, failures: NONE, ends: NONE });
      assert.ok(result.report.handshake_ms.p50 > 0 && result.report.server_rss_anon_kib_before > 0 && result.report.server_rss_anon_kib_after > 0);
      assert.equal(result.code, 0);
      await until("the node has closed them all", async () => (await node.metric("fanfare_sessions_closed_total")) === 60);
      assert.equal(await node.metric("fanfare_sockets"), 0);
    });
  }

  for (const [cut, reasons, resets] of [["goodbye", ["client namespace disconnect"], 0], ["close", ["transport close"], 0], ["reset", ["transport close", "transport error"], 20]]) {
    test(`the server sees how they go: ${cut}`, async () => {
      const server = await reference();
      const proxy = await Watching.start(Number(new URL(server.url).port));
      try {
        const result = await load("churn", [proxy.url], ["--rate", "20", "--duration", "1", "--lifetime", "0.2", "--cut", cut]);
        assertFields(result, { connected: 20, deserted: 0 });
        await until("all have gone", () => server.seen.ends.length === 20);
        assert.deepEqual(server.seen.ends.filter((reason) => !reasons.includes(reason)), []);
        assert.equal(proxy.resets, resets);
      } finally {
        proxy.stop();
        server.stop();
      }
    });
  }

  withNode("who is refused is counted by status, and makes the exit code 1", async (node) => {
    const result = await load("churn", [node.url], ["--rate", "20", "--duration", "2", "--lifetime", "0.5", "--cut", "close"]);
    const { report, code } = result;
    // Five at a time: the others of each half second find no place.
    assert.ok(report.connected >= 5 && report.failed >= 5, JSON.stringify(report));
    assert.equal(report.connected + report.failed, 40);
    assert.deepEqual([report.failures, report.refusals], [{ ...NONE, status: report.failed }, [{ status: 503, count: report.failed }]]);
    assert.match(report.first_failure, /503/);
    assert.equal(code, 1);
  }, { FANFARE_LIMITS__SESSIONS: "5" });

  test("a server that dies fails those who come later, and deserts those who are there", async () => {
    const node = await Node.start({});
    const result = await load("churn", [node.url], ["--rate", "20", "--duration", "3", "--lifetime", "1"], async () => {
      await until("some have come", async () => (await node.metric("fanfare_sockets")) >= 10);
      await node.kill();
    });
    const { report, code } = result;
    assert.equal(report.arrivals, 60);
    assert.ok(report.deserted >= 8 && report.failures.refused > 0 && report.ends.closed === report.deserted, JSON.stringify(report));
    assert.equal(report.connected + report.failed, 60);
    assert.equal(code, 1);
  });

  test("clients that find no place come late, which is told with a warning", async () => {
    const server = await Server.start("reference");
    const proxy = await Late.start(server.port);
    try {
      const flags = ["churn", "--targets", proxy.url, "--rate", "20", "--duration", "2", "--lifetime", "0.5", "--connections", "10", "--json"];
      const child = await run(flags);
      const report = JSON.parse(child.stdout);
      // Each takes a place for half a second more than it lives.
      assert.ok(report.overrun >= 10 && report.own_saturated && report.connected === 40, child.stdout);
      assert.match(child.stderr, /warning: the generator was saturated \(.*\b\d+ of 40 left late/);
    } finally {
      proxy.stop();
      await server.stop();
    }
  });
});

describe("storm", { concurrency: true }, () => {
  for (const way of WAYS) {
    withNode(`all are back after each, ${way}`, async (node) => {
      const result = await load("storm", [node.url], ["--transport", way, "--connections", "40", "--rounds", "2", "--pause", "0.3"]);
      assertFields(result, { scenario: "storm", rounds: 2, weathered: 2, back: 80, reconnects: 80, retries: 0, disconnected: 0, ended: 0 });
      const { all_back_ms, all_back_ms_by_round, away_ms } = result.report;
      assert.ok(away_ms.p50 > 0 && away_ms.p50 <= away_ms.max);
      assert.deepEqual([all_back_ms_by_round.length, Math.max(...all_back_ms_by_round)], [2, all_back_ms]);
      // Histograms have three digits.
      assert.ok(Math.abs(all_back_ms - away_ms.max) <= all_back_ms / 500, JSON.stringify(result.report));
      assert.equal(result.code, 0);
      assert.equal(await node.metric("fanfare_connects_total"), 120);
    });
  }

  withNode("they may come while messages are published", async (node) => {
    const result = await load("storm", [node.url], ["--event", "announce", "--connections", "20", "--pause", "1", "--publish-rate", "100"]);
    const { published, delivered } = result.report;
    assertFields(result, { weathered: 1, back: 20, connected: 20 });
    assert.ok(published >= 100 && delivered >= 50 * 20 && delivered <= published * 20, JSON.stringify(result.report));
    assert.equal(result.code, 0);
  });

  test("a publisher that loses its session ends the run", async () => {
    const node = await Node.start({});
    const publishing = load("storm", [node.url], ["--event", "announce", "--connections", "2", "--pause", "60", "--publish-rate", "50"], async () => {
      await until("messages flow", async () => (await node.metric("fanfare_events_in_total")) > 10);
      await node.kill();
    });
    await assert.rejects(publishing, /^Error: fanfare-load ended with 69: fanfare-load: a publisher lost its connection: /);
  });

  withNode("attempts may be spread", async (node) => {
    const result = await load("storm", [node.url], ["--connections", "30", "--pause", "0", "--spread", "1.5"]);
    assertFields(result, { back: 30, weathered: 1 });
    const { p50, max } = result.report.away_ms;
    assert.ok(p50 > 300 && p50 < 1_300 && max > 900, JSON.stringify(result.report.away_ms));
  });

  withNode("a server that refuses is asked again, as stock clients do", async (node) => {
    const proxy = await Proxy.start(Number(node.public.port));
    try {
      const result = await load("storm", [proxy.url], ["--connections", "10", "--pause", "1"], async () => {
        await until("all are connected", async () => (await node.metric("fanfare_sockets")) === 10);
        proxy.open(false);
        await until("all have gone", async () => (await node.metric("fanfare_sockets")) === 0);
        proxy.open();
      });
      const { report, code } = result;
      assertFields(result, { weathered: 1, back: 10, ended: 0 });
      assert.ok(report.retries > 0 && report.failures.closed === report.retries, JSON.stringify(report));
      assert.ok(report.all_back_ms >= 1_000);
      assert.equal(code, 0);
    } finally {
      proxy.stop();
    }
  });

  test("a server that dies is told by who is not back, and the exit code is 1", async () => {
    const node = await Node.start({});
    const result = await load("storm", [node.url], ["--connections", "10", "--rounds", "3", "--pause", "2", "--patience", "3"], async () => {
      await until("all are connected", async () => (await node.metric("fanfare_sockets")) === 10);
      await node.kill();
    });
    assertFields(result, { connected: 10, weathered: 0, back: 0, disconnected: 10, ended: 10 });
    assert.ok(result.report.failures.refused >= 10, JSON.stringify(result.report));
    assert.equal(result.code, 1);
  });
});

describe("jitter", { concurrency: true }, () => {
  /** Each client is cut some three times, and away for half a second each time. */
  const CUT = ["--event", "announce", "--connections", "20", "--rate", "50", "--duration", "5", "--every", "1.2", "--away", "0.5"];

  /** Whatever was published came to everybody, once and in order, or was missed. */
  function assertWhole(result, extra) {
    const { report } = result;
    assertFields(result, { scenario: "jitter", published: 250, expected: 5_000, lost: 0, duplicate: 0, out_of_order: 0, disconnected: 0, ended: 0, ...extra });
    assert.equal(report.delivered + report.missed, report.expected, JSON.stringify(report));
    assert.ok(report.cuts >= 30, JSON.stringify(report));
    assert.ok(report.away_ms.p50 >= 500, JSON.stringify(report));
    assert.equal(report.reconnects, report.cuts);
  }

  for (const target of ["fanfare", "reference"]) {
    for (const way of WAYS) {
      test(`clients whose sessions are given back miss nothing, ${target}, ${way}`, async () => {
        const server = await Server.start(target, { recovery: 60_000 });
        try {
          const result = await load("jitter", [server.url], [...CUT, "--transport", way, "--recover", "--cut", way === "upgrade" ? "close" : "reset"]);
          const { recovered, not_recovered, cuts, missed } = result.report;
          assert.equal(recovered + not_recovered, cuts);
          if (target === "reference" && way === "polling") {
            // It learns only by its pings of a client that is gone between two polls, and keeps no session until then.
            assertWhole(result, {});
            assert.ok(recovered > 0, JSON.stringify(result.report));
            assert.deepEqual([missed > 0, result.code], not_recovered > 0 ? [true, 1] : [false, 0]);
            return;
          }
          assertWhole(result, { delivered: 5_000, missed: 0, not_recovered: 0 });
          assert.equal(result.code, 0);
        } finally {
          await server.stop();
        }
      });
    }
  }

  test("without recovery they miss what was published meanwhile, and nothing else", async () => {
    const node = await Node.start({});
    try {
      const result = await load("jitter", [node.url], [...CUT, "--law", "exponential"]);
      assertWhole(result, { recovered: 0, not_recovered: 0 });
      // Half a second each, at 50 a second.
      const { missed, cuts, latency_ms } = result.report;
      assert.ok(missed >= 20 * cuts && missed <= 60 * cuts, JSON.stringify(result.report));
      assert.ok(latency_ms.p999 < 500, "nothing is delivered later");
      assert.equal(result.code, 0);
    } finally {
      await node.stop();
    }
  });

  test("a server that gives no session back is found out", async () => {
    const node = await Node.start({});
    try {
      const result = await load("jitter", [node.url], [...CUT, "--recover"]);
      assertWhole(result, { recovered: 0 });
      assert.equal(result.report.not_recovered, result.report.cuts);
      assert.ok(result.report.missed > 0);
      assert.equal(result.code, 1);
    } finally {
      await node.stop();
    }
  });

  test("and so is one that gives it back for a shorter time than clients are away", async () => {
    const server = await Server.start("fanfare", { recovery: 100 });
    try {
      const result = await load("jitter", [server.url], [...CUT, "--recover"]);
      assertWhole(result, {});
      assert.ok(result.report.not_recovered > 0 && result.report.missed > 0, JSON.stringify(result.report));
      assert.equal(result.code, 1);
    } finally {
      await server.stop();
    }
  });

  test("what a server does not replay to a session that it gives back is lost, not missed", async () => {
    const server = new Reference(0, { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } });
    server.on("connection", (socket) => socket.on("announce", (message) => server.emit("announce", message)));
    const adapter = server.of("/").adapter;
    const restore = adapter.restoreSession.bind(adapter);
    adapter.restoreSession = async (...args) => {
      const session = await restore(...args);
      return session && { ...session, missedPackets: [] };
    };
    if (!server.httpServer.listening) await once(server.httpServer, "listening");
    try {
      const result = await load("jitter", [`http://127.0.0.1:${server.httpServer.address().port}`], [...CUT, "--recover"]);
      assertFields(result, { published: 250, not_recovered: 0, missed: 0 });
      const { recovered, cuts, lost, delivered, expected } = result.report;
      assert.ok(recovered > 0 && recovered === cuts && lost > 0, JSON.stringify(result.report));
      assert.equal(delivered + lost, expected);
      assert.equal(result.code, 1);
    } finally {
      server.close();
    }
  });

  test("a server that dies has its sessions counted as ended, not as cut, and who is not back makes the exit code 1", async () => {
    const [node, other] = [await Node.start({}), await Node.start({})];
    try {
      // The publisher is at the other one, which is no part of a cluster: nothing of what it publishes comes.
      const flags = ["--event", "announce", "--connections", "6", "--rate", "20", "--duration", "2", "--every", "60", "--patience", "0.5", "--publisher-targets", other.url];
      const result = await load("jitter", [node.url], flags, async () => {
        await until("all are connected", async () => (await node.metric("fanfare_sockets")) === 6);
        await until("something is published", async () => (await other.metric("fanfare_events_in_total")) > 0);
        await node.kill();
      });
      assertFields(result, { cuts: 0, ended: 6, disconnected: 6, delivered: 0, ends: { ...NONE, closed: 6 } });
      assert.equal(result.code, 1);
    } finally {
      await other.stop();
    }
  });
});

describe("the report", () => {
  let server;
  before(async () => (server = await Server.start("reference")));
  after(() => server.stop());
  const idle = (...flags) => run(["idle", "--targets", server.url, "--connections", "3", "--duration", "0.2", ...flags]);

  test("bounds that are broken are told, and make the exit code 3", async () => {
    const { code, stderr, stdout } = await idle("--fail-if", "connected==3", "--fail-if", "handshake_p99_ms < 0");
    assert.deepEqual([code, stderr], [3, "fanfare-load: --fail-if connected==3: connected is 3\n"]);
    assert.match(stdout, /^connected {6}3 /);
    assert.equal((await idle("--fail-if", "connected>3")).code, 0);
  });

  test("a bound on nothing is refused before the run, with the name that is nearest", async () => {
    const { code, stderr, stdout } = await idle("--fail-if", "handshakes_p99_ms>5");
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /no number handshakes_p99_ms; did you mean handshake_p99_ms\?/);
  });

  test("a file has the names once, and a line for each run; one of another scenario is refused", async () => {
    const file = join(scratch(), "runs.csv");
    for (const _ of [1, 2]) assert.equal((await idle("--csv", file)).code, 0);
    const lines = readFileSync(file, "utf8").trimEnd().split("\n").map((line) => line.split(","));
    assert.equal(lines.length, 3);
    for (const line of lines.slice(1)) assert.deepEqual([line.length, line[lines[0].indexOf("connected")], line[lines[0].indexOf("scenario")]], [lines[0].length, "3", "idle"]);
    const { code, stderr } = await run(["storm", "--targets", server.url, "--csv", file]);
    assert.equal(code, 2);
    assert.match(stderr, /its first line has other names/);
  });
});

/** A proxy that counts how many connections clients have reset. */
class Watching extends Proxy {
  resets = 0;
  #watched = new Set();

  downstream(near) {
    if (!this.#watched.has(near)) {
      this.#watched.add(near);
      near.on("error", ({ code }) => (this.resets += code === "ECONNRESET"));
    }
    return super.downstream(near);
  }
}

/** A proxy that lets clients' first bytes through half a second late. */
class Late extends Proxy {
  upstream(far) {
    const open = new Promise((resolve) => setTimeout(resolve, 500));
    return (data) => open.then(() => far.write(data));
  }
}

/** Runs `fanfare-load` to its end, whatever that is. */
async function run(args) {
  const child = spawn(binary("fanfare-load"), args, { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "", stderr = "";
  child.stdout.on("data", (data) => (stdout += data));
  child.stderr.on("data", (data) => (stderr += data));
  const [code] = await once(child, "close");
  return { code, stdout, stderr };
}
