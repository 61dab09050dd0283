// `fanfare-load`, run beside a test.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { binary } from "./cluster.mjs";

/** Runs a scenario against servers, and `during` meanwhile; its exit code and its report. */
export async function load(scenario, targets, flags, during = () => {}) {
  const child = spawn(binary("fanfare-load"), [scenario, "--targets", targets.join(), "--json", ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (data) => (output += data));
  const [[code]] = await Promise.all([once(child, "close"), during()]);
  return { code, report: JSON.parse(output) };
}
