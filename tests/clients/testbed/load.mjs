// `fanfare-load`, run beside a test.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { binary } from "./cluster.mjs";

/**
 * Runs a scenario against servers, and `during` meanwhile, which is told the process id; its exit code and its report. Fails with what it
 * said if the run could not be made, and ends it if `during` fails.
 */
export async function load(scenario, targets, flags, during = () => {}) {
  const child = spawn(binary("fanfare-load"), [scenario, "--targets", targets.join(), "--json", ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "", errors = "";
  child.stdout.on("data", (data) => (output += data));
  child.stderr.on("data", (data) => (errors += data));
  const closed = once(child, "close");
  const concluded = async () => {
    const [code, signal] = await closed;
    // Anything else is no run: it has no report.
    if (code !== 0 && code !== 1) throw new Error(`fanfare-load ended with ${code ?? signal}: ${errors.trim()}`);
    return { code, report: JSON.parse(output) };
  };
  try {
    const [result] = await Promise.all([concluded(), (async () => during(child.pid))()]);
    return result;
  } catch (error) {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await closed;
    throw error;
  }
}
