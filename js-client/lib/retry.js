import { onAbort, throwIfAborted } from './abort.js';
import { IPCChannelError } from './errors.js';

// The pauses between tries grow from the first to the second, in milliseconds. The short ones find a server
// that is just starting without delay; at 1 ms for good, a connect would take a tenth of a core.
const FIRST_PAUSE = 1;
const LONGEST_PAUSE = 20;

/** Why an attempt did not succeed, although a later attempt may. */
export class Missed {
  /**
   * @param {string} text
   * @param {unknown} [cause]
   */
  constructor(text, cause) {
    this.text = text;
    this.cause = cause;
  }
}

/** A point in time, on the monotonic clock. */
export class Deadline {
  #at;

  /** @param {number} timeout in milliseconds; may be Infinity */
  constructor(timeout) {
    this.timeout = timeout;
    this.#at = performance.now() + timeout;
  }

  get remaining() {
    return Math.max(0, this.#at - performance.now());
  }

  get passed() {
    return this.remaining === 0;
  }

  /**
   * The error of a connect to which no server came.
   *
   * @param {Missed} why
   */
  missed({ text, cause }) {
    const what =
      this.timeout === 0 ? 'no server is there' : `no server came within ${this.timeout} ms`;
    return new IPCChannelError('timeout', `${what}: ${text}`, { cause });
  }
}

/**
 * Calls `attempt` until it gives a connection; the last time at the deadline.
 *
 * @template {object} T
 * @param {(last: boolean) => T | Missed | Promise<T | Missed>} attempt
 * @param {Deadline} deadline
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<T>}
 */
export async function retry(attempt, deadline, signal) {
  let pause = FIRST_PAUSE;
  for (;;) {
    throwIfAborted(signal);
    const last = deadline.passed;
    const result = await attempt(last);
    if (!(result instanceof Missed)) return result;
    if (last) throw deadline.missed(result);
    await sleep(Math.min(pause, deadline.remaining), signal);
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<void>}
 */
function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const release = onAbort(signal, (error) => {
      clearTimeout(timer);
      reject(error);
    });
    const timer = setTimeout(() => {
      release();
      resolve();
    }, milliseconds);
  });
}
