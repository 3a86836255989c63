import { AbortError } from './errors.js';

/** @param {AbortSignal | undefined} signal */
export function throwIfAborted(signal) {
  if (signal?.aborted) throw new AbortError(signal.reason);
}

/**
 * Calls `listener` with an AbortError once `signal` aborts. Returns what takes the listener off
 * again: a signal may live as long as the program, and must not collect one listener per call.
 *
 * @param {AbortSignal | undefined} signal
 * @param {(error: AbortError) => void} listener
 * @returns {() => void}
 */
export function onAbort(signal, listener) {
  if (signal === undefined) return nothing;
  const handler = () => listener(new AbortError(signal.reason));
  signal.addEventListener('abort', handler, { once: true });
  return () => signal.removeEventListener('abort', handler);
}

function nothing() {}
