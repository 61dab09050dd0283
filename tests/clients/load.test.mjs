// `fanfare-load fanout`: it counts what arrives, and its exit code says whether all of it did.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { redis } from "./testbed/backends.mjs";
import { binary, Cluster } from "./testbed/cluster.mjs";
import { until } from "./testbed/wait.mjs";

let backend, cluster;
before(async () => {
  backend = await redis();
  cluster = await Cluster.start({ backend });
});
after(async () => {
  await cluster?.stop();
  await backend?.stop();
});

/** Runs it against the three nodes; its exit code and its report. */
async function fanout(flags, during = () => {}) {
  const targets = cluster.nodes.map((node) => node.url).join();
  const load = spawn(binary("fanfare-load"), ["fanout", "--targets", targets, "--event", "announce", "--json", ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  load.stdout.on("data", (data) => (output += data));
  const [[code]] = await Promise.all([once(load, "close"), during()]);
  return { code, report: JSON.parse(output) };
}

test("a fan-out over three nodes loses, repeats and swaps nothing, and exits with 0", async () => {
  const { code, report } = await fanout(["--connections", "60", "--publishers", "3", "--rate", "300", "--duration", "3"]);
  const { published, expected, delivered, lost, duplicate, out_of_order } = report;
  assert.deepEqual({ published, expected, delivered, lost, duplicate, out_of_order }, { published: 900, expected: 54_000, delivered: 54_000, lost: 0, duplicate: 0, out_of_order: 0 });
  assert.ok(report.latency_ms.p50 > 0 && report.latency_ms.p50 <= report.latency_ms.p99 && report.latency_ms.p99 <= report.latency_ms.max);
  assert.equal(code, 0);
});

test("a message that is lost is counted, and makes the exit code 1", async () => {
  const total = async (name) => (await Promise.all(cluster.nodes.map((node) => node.metric(name)))).reduce((sum, one) => sum + one);
  const before = await total("fanfare_cluster_received_total");
  const { code, report } = await fanout(["--connections", "6", "--rate", "100", "--duration", "5", "--patience", "2"], async () => {
    await until("messages flow between the nodes", async () => (await total("fanfare_cluster_received_total")) > before + 50);
    await backend.kill();
    // The nodes keep what they publish for a second; a shorter outage would lose nothing.
    await until("the publisher's node gives messages up", async () => (await total("fanfare_adapter_dropped_total")) > 0);
    await backend.start();
  });
  assert.ok(report.lost > 0 && report.delivered > 0, JSON.stringify(report));
  assert.equal(report.delivered + report.lost, report.expected);
  assert.equal(code, 1);
});
