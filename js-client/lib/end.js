import { IPCChannelError, systemCode } from './errors.js';

/**
 * How a session ended for its reader: the reason that `endReason` gives, and the error that a read
 * reports, or null where a read reports a plain end.
 *
 * @typedef {'clean' | 'eof' | 'truncated' | 'reset' | 'too_large' | 'local'} EndReason
 * @typedef {Readonly<{reason: EndReason, error: IPCChannelError | null}>} End
 */

/** @type {End} */
export const CLEAN = Object.freeze({ reason: 'clean', error: null });

/** @type {End} */
export const EOF = Object.freeze({ reason: 'eof', error: null });

/** @type {End} */
export const LOCAL = Object.freeze({ reason: 'local', error: null });

/**
 * @param {number} seen
 * @param {number} expected
 * @param {'header' | 'payload'} part
 * @returns {End}
 */
export function truncated(seen, expected, part) {
  const message = `stream ended after ${seen} of the ${expected} ${part} bytes`;
  return { reason: 'truncated', error: new IPCChannelError('truncated', message) };
}

/**
 * @param {number} length
 * @param {number} limit
 * @returns {End}
 */
export function tooLarge(length, limit) {
  const message = `frame of ${length} bytes exceeds the limit of ${limit}`;
  return { reason: 'too_large', error: new IPCChannelError('too-large', message) };
}

/**
 * @param {number} length
 * @param {unknown} cause
 * @returns {End}
 */
export function doesNotFit(length, cause) {
  const message = `frame of ${length} bytes does not fit into memory`;
  return { reason: 'too_large', error: new IPCChannelError('too-large', message, { cause }) };
}

/**
 * @param {unknown} cause
 * @returns {End}
 */
export function reset(cause) {
  const isPeers = systemCode(cause) === 'ECONNRESET';
  const text = isPeers ? 'connection reset by the peer' : `the connection failed: ${cause}`;
  const error = new IPCChannelError('reset', text, { cause });
  return { reason: 'reset', error };
}
