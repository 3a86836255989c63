import { AbortError } from './errors.js';

/**
 * The calls that wait on each signal. They share one listener: Node takes eleven listeners on a signal
 * for a leak, and warns on stderr.
 *
 * @type {WeakMap<AbortSignal, {calls: Set<() => void>, stop: () => void}>}
 */
const waiting = new WeakMap();

/** @param {AbortSignal | undefined} signal */
export function throwIfAborted(signal) {
  if (signal?.aborted) throw new AbortError(signal.reason);
}

/**
 * Calls `listener` with an AbortError once `signal` aborts. Returns a function that removes the
 * listener again: a signal may live as long as the program, and must not collect a listener per call.
 *
 * @param {AbortSignal | undefined} signal
 * @param {(error: AbortError) => void} listener
 * @returns {() => void}
 */
export function onAbort(signal, listener) {
  if (signal === undefined) return nothing;
  const { calls, stop } = waiting.get(signal) ?? listenTo(signal);
  const call = () => listener(new AbortError(reasonOf(signal)));
  calls.add(call);
  return () => {
    if (calls.delete(call) && calls.size === 0) stop();
  };
}

/** @param {AbortSignal} signal */
function listenTo(signal) {
  /** @type {Set<() => void>} */
  const calls = new Set();
  const handler = () => {
    for (const call of calls) call();
  };
  const stop = () => {
    waiting.delete(signal);
    try {
      signal.removeEventListener('abort', handler);
    } catch (error) {
      reportLater(error);
    }
  };
  signal.addEventListener('abort', handler, { once: true });
  const entry = { calls, stop };
  waiting.set(signal, entry);
  return entry;
}

/** @param {AbortSignal} signal */
function reasonOf(signal) {
  try {
    return signal.reason;
  } catch (error) {
    return error;
  }
}

/**
 * Throws in a later turn, as Node does when a listener throws: a signal that the caller implements must
 * not interrupt our work half way, where messages could get lost.
 *
 * @param {unknown} error
 */
function reportLater(error) {
  process.nextTick(() => {
    throw error;
  });
}

function nothing() {}
