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
  const hint = 'set maxMessageSize at both ends if messages are to be so long';
  const message = `frame of ${length} bytes exceeds the limit of ${limit}: ${hint}`;
  return { reason: 'too_large', error: new IPCChannelError('too-large', message) };
}

/**
 * @param {number} length
 * @param {unknown} cause
 * @returns {End}
 */
export function doesNotFit(length, cause) {
  const message = `frame of ${length} bytes does not fit into memory: set maxMessageSize lower`;
  return { reason: 'too_large', error: new IPCChannelError('too-large', message, { cause }) };
}

/**
 * @param {unknown} cause
 * @param {number} [lengthUnderWay] of the message that was out in part, if there was one
 * @returns {End}
 */
export function reset(cause, lengthUnderWay = 0) {
  const isPeers = systemCode(cause) === 'ECONNRESET';
  const what = isPeers ? 'connection reset by the peer' : `the connection failed: ${cause}`;
  const text = what + within(lengthUnderWay);
  return { reason: 'reset', error: new IPCChannelError('reset', text, { cause }) };
}

/**
 * @param {unknown} cause
 * @param {number} lengthUnderWay
 */
export function peerGone(cause, lengthUnderWay) {
  const text = `the peer no longer reads${within(lengthUnderWay)}`;
  return new IPCChannelError('peer-gone', text, { cause });
}

/**
 * A peer whose limit is smaller than ours ends its session at the header of our message. What is seen
 * here is only that it has gone.
 *
 * @param {number} length
 */
function within(length) {
  if (length === 0) return '';
  const hint = 'its limit may be smaller: set maxMessageSize at both ends';
  return `; it stopped within a message of ${length} bytes, and ${hint}`;
}
