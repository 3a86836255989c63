import { IPCChannelError, systemCode } from './errors.js';
import { DEFAULT_MAX_MESSAGE_SIZE } from './options.js';

/**
 * Lengths of messages when the session ended: of the large message that had been sent only in part, and of
 * the last large message of which anything had been sent; 0 for none.
 *
 * @typedef {Readonly<{lengthUnderWay: number, lastLarge: number}>} Output
 */

/** @type {Output} */
const NOTHING_LARGE = { lengthUnderWay: 0, lastLarge: 0 };
const CLOSED = 'the channel was closed at this end: connect again for a new session';

/**
 * How a session ended for its reader: the reason that `endReason` gives, and the error that a read
 * reports, or null where a read reports an orderly end.
 *
 * @typedef {'clean' | 'eof' | 'truncated' | 'reset' | 'too_large' | 'local'} EndReason
 * @typedef {Readonly<{reason: EndReason, error: IPCChannelError | null}>} End
 * @typedef {End & {reason: 'clean' | 'eof' | 'truncated' | 'too_large'}} InputEnd what the bytes give
 */

/** @type {InputEnd} */
export const CLEAN = Object.freeze({ reason: 'clean', error: null });

/** @type {InputEnd} */
export const EOF = Object.freeze({ reason: 'eof', error: null });

/**
 * @param {number} seen
 * @param {number} expected
 * @param {'header' | 'payload'} part
 * @returns {InputEnd}
 */
export function truncated(seen, expected, part) {
  const message = `stream ended after ${seen} of the ${expected} ${part} bytes`;
  return { reason: 'truncated', error: new IPCChannelError('truncated', message) };
}

/**
 * @param {number} length
 * @param {number} limit
 * @returns {InputEnd}
 */
export function tooLarge(length, limit) {
  const hint = 'raise maxMessageSize at both ends if the peer may send so much';
  const message = `frame of ${length} bytes exceeds the limit of ${limit}: ${hint}`;
  return { reason: 'too_large', error: new IPCChannelError('too-large', message) };
}

/**
 * @param {number} length
 * @param {unknown} cause
 * @returns {InputEnd}
 */
export function doesNotFit(length, cause) {
  const message = `frame of ${length} bytes does not fit into memory: lower maxMessageSize`;
  return { reason: 'too_large', error: new IPCChannelError('too-large', message, { cause }) };
}

/**
 * @param {unknown} cause
 * @param {Output} [output]
 */
export function reset(cause, output = NOTHING_LARGE) {
  const isPeers = systemCode(cause) === 'ECONNRESET';
  const what = isPeers ? 'connection reset by the peer' : `the connection failed: ${cause}`;
  return new IPCChannelError('reset', what + sizeHint(output, isPeers), { cause });
}

/**
 * @param {unknown} cause
 * @param {Output} [output]
 */
export function peerGone(cause, output = NOTHING_LARGE) {
  const text = `the peer no longer reads${sizeHint(output, false)}`;
  return new IPCChannelError('peer-gone', text, { cause });
}

/**
 * @param {string} [text]
 * @param {unknown} [cause]
 */
export function closed(text = CLOSED, cause = undefined) {
  return new IPCChannelError('closed', text, cause === undefined ? undefined : { cause });
}

/**
 * A hint for an error if the peer may have refused a message because of its size. A peer whose limit is
 * smaller than ours ends its session at the header, and this end sees only that the peer has gone. If it
 * exits without having read everything, its kernel resets the connection. If it closes its channel, it
 * drops the rest of the message, which our kernel may have taken whole.
 *
 * @param {Output} output
 * @param {boolean} wasReset
 */
function sizeHint({ lengthUnderWay, lastLarge }, wasReset) {
  const hint = "if the peer's limit is smaller, raise maxMessageSize at both ends";
  if (lengthUnderWay > 0) {
    return `; a message of ${lengthUnderWay} bytes was sent only in part: ${hint}`;
  }
  if (lastLarge === 0 || !(wasReset || lastLarge > DEFAULT_MAX_MESSAGE_SIZE)) return '';
  return `; a message of ${lastLarge} bytes may not have been read: ${hint}`;
}
