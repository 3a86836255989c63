// Waiting in tests.

/** Everything that is ready has happened. */
export function turn() {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Waits for what has no event of its own.
 *
 * @param {() => boolean} condition
 * @param {string} what
 */
export async function until(condition, what) {
  const deadline = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
