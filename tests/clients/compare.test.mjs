// `fanfare-load compare`: it measures real servers, and leaves none of them behind.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Child, scratch } from "./testbed/child.mjs";
import { binary } from "./testbed/cluster.mjs";
import { soon, until } from "./testbed/wait.mjs";

/** Runs it to its end, which is good; what it printed, and what it said of so many runs. Of the servers in Rust only the floor is quickly built. */
async function compare(runs, ...flags) {
  const child = new Child(binary("fanfare-load"), ["compare", ...flags]);
  const lines = [];
  child.onLine((line) => lines.push(line));
  const { code } = await soon("the comparison ends", child.exited, 250_000);
  assert.equal(code, 0, child.report("failed"));
  // Its output may be read after its end is heard of.
  const told = () => lines.filter((line) => /, round \d of \d, \w+: /.test(line));
  await until(() => child.report("did not tell all"), () => lines.some((line) => line.startsWith("{")) && told().length === runs);
  return { result: JSON.parse(lines.find((line) => line.startsWith("{"))), told: told() };
}

/** Parent and name of each process; one that has ended, and has not been heard of yet, is none. */
function processes() {
  const all = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const [, name, state, parent] = /^\d+ \((.*)\) (\S) (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8"));
      if (state !== "Z") all.set(Number(pid), { name, parent: Number(parent) });
    } catch (error) {
      // It has ended meanwhile.
      if (error.code !== "ENOENT" && error.code !== "ESRCH") throw error;
    }
  }
  return all;
}

test("it measures servers in turns, with what they did and what it means, as JSON and as a page", async () => {
  const directory = join(scratch(), "report");
  const { result, told } = await compare(4, "--scenario", "echo", "--servers", "floor,node", "--rounds", "2", "--json", "--report", directory, "--", "--connections", "4", "--duration", "0.5");
  assert.deepEqual(JSON.parse(readFileSync(join(directory, "compare.json"), "utf8")), result);
  assert.deepEqual(result.servers, ["floor", "node"]);
  const [row] = result.rows;
  assert.deepEqual(row.faults, {});
  for (const server of ["floor", "node"]) {
    assert.equal(row.reports[server].length, 2);
    for (const report of row.reports[server]) {
      assert.deepEqual([report.scenario, report.connected, report.lost, report.acked], ["echo", 4, 0, report.emitted]);
      assert.ok(report.acked > 0 && report.server_rss_anon_kib > 0, JSON.stringify(report));
    }
  }
  const cpu = row.figures.find((figure) => figure.unit === "us CPU per ack");
  const taken = (server) => row.reports[server].map((report) => report.server_cpu_us_per_ack);
  const [first, second] = taken("floor").map((floor, round) => floor / taken("node")[round]);
  assert.ok(Math.abs(cpu.ratios.node.median - (first + second) / 2) < 1e-9, JSON.stringify(cpu));
  assert.ok(cpu.ratios.node.median < 1, "the floor is below the reference");
  assert.ok(Math.abs(cpu.servers.node.min - Math.min(...taken("node"))) < 1e-9);
  // In turns: each round begins with another one.
  const turns = told.map((line) => /round (\d) of 2, (\w+): /.exec(line).slice(1).join(" "));
  assert.deepEqual(turns, ["1 floor", "1 node", "2 node", "2 floor"]);
  const page = readFileSync(join(directory, "index.html"), "utf8");
  assert.match(page, /<svg [^]*class="line floor"[^]*class="line node"/);
});

test("a cluster has its backend counted", async () => {
  const { result } = await compare(1, "--scenario", "fanout", "--nodes", "3", "--servers", "node,floor", "--rounds", "1", "--json", "--", "--connections", "6", "--rate", "50", "--duration", "1");
  const [row] = result.rows;
  const [report] = row.reports.node;
  assert.deepEqual([report.published, report.delivered, report.lost], [50, 300, 0], JSON.stringify(report));
  assert.equal(report.server_cpu_us_per_delivery_by_pid.length, 4);
  assert.ok(report.server_rss_anon_kib_by_pid.every((kib) => kib > 0));
  assert.deepEqual(row.lacks, { floor: "no cluster" });
});

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  test(`interrupted by ${signal} it ends, and all that it has started with it`, async () => {
    const flags = ["--scenario", "fanout", "--nodes", "3", "--servers", "node", "--", "--connections", "6", "--rate", "50", "--duration", "100"];
    const child = new Child(binary("fanfare-load"), ["compare", ...flags]);
    try {
      const started = () => [...processes()].filter(([, { parent }]) => parent === child.pid);
      const names = () => started().map(([, { name }]) => name.replace(/^MainThread$/, "node")).sort();
      const all = ["fanfare-load", "node", "node", "node", "redis-server"];
      await until(() => `the scenario runs: ${names()}`, () => {
        if (child.end) throw new Error(child.report("ended"));
        return names().join() === all.join();
      }, { within: 60_000 });
      const pids = started().map(([pid]) => pid);
      child.signal(signal);
      assert.equal((await soon("it ends", child.exited)).code, 130, child.report("did not end well"));
      await until("all have ended", () => pids.every((pid) => !processes().has(pid)));
    } finally {
      await child.kill();
    }
  });
}

test("when no run can be made, it says why of each, and that nothing was measured", async () => {
  const child = new Child(binary("fanfare-load"), ["compare", "--scenario", "rooms", "--servers", "node", "--rounds", "2", "--", "--rooms", "0"]);
  assert.equal((await soon("it ends", child.exited, 60_000)).code, 69, child.report("did not end well"));
  // Its output may be read after its end is heard of.
  for (const reason of [/rooms --rooms 0, node: run 1: failed: .*'0'.*--rooms/, /^.*fanfare-load: nothing was measured: no run of any server has a report$/m]) {
    await until(() => child.report(`did not say ${reason}`), () => reason.test(child.report("")));
  }
});

test("without the peers it says where it looked, and what to do", async () => {
  const child = new Child(binary("fanfare-load"), ["compare", "--all", "--peers", scratch()]);
  assert.equal((await soon("it ends", child.exited)).code, 69);
  // Its output may be read after its end is heard of.
  const reason = /fanfare-load: no peers .* in .*: run this in a clone of the repository, or say --peers DIR$/m;
  await until("it says why", () => reason.test(child.report("")));
});
