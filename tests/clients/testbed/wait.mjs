// Waiting for a condition, with a deadline: nothing in these tests sleeps and hopes.

/**
 * Polls `condition` until it returns something true, which is the result. Fails after `within` milliseconds, saying what was waited
 * for and, if `condition` threw, what it threw last.
 */
export async function until(what, condition, { within = 10_000, every = 10 } = {}) {
  const deadline = performance.now() + within;
  let complaint = "";
  for (;;) {
    try {
      const result = await condition();
      if (result) return result;
      complaint = "";
    } catch (error) {
      complaint = `: ${error.message}`;
    }
    if (performance.now() > deadline) throw new Error(`not within ${within} ms: ${typeof what === "function" ? what() : what}${complaint}`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}

/** Awaits `promise`, at most `within` milliseconds. */
export async function soon(what, promise, within = 10_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${within} ms: ${what}`)), within);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
