// What a check of a defect is, and how it is run against both servers.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Server } from "../testbed/server.mjs";

/** What a check throws when the server has the defect; anything else that it throws is a failure of the check. */
export class Defect extends Error {}

/** Fails with `Defect` unless the condition is met. */
export function expect(condition, message) {
  if (!condition) throw new Defect(message);
}

/**
 * A check: what is promised, the flags of the server it takes, and the function that finds the defect. The reference gets the flags of
 * `reference` too.
 */
export function promise(title, flags, check, reference = {}) {
  return { title, check, flags: { fanfare: flags, reference: { ...flags, ...reference } } };
}

async function run(target, { flags, check }) {
  const server = await Server.start(target, flags[target]);
  try {
    await check(server);
    server.assertAlive();
  } finally {
    await server.stop();
  }
}

export function testDefects(checks) {
  describe("defects of the reference", { concurrency: 3 }, () => {
    for (const check of Object.values(checks)) {
      test(check.title, () => run("fanfare", check));
      test(`control: the reference does not promise that ${check.title}`, () => assert.rejects(run("reference", check), Defect));
    }
  });
}
