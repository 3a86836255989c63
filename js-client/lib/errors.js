/**
 * @typedef {'truncated' | 'reset' | 'too-large' | 'peer-gone' | 'closed' | 'bad-rendezvous'
 *   | 'empty-message' | 'message-too-large' | 'wrong-type' | 'bad-option' | 'timeout'} ErrorCode
 */

/**
 * The error of a channel. `code` says what happened:
 *
 * - caused by the peer: `truncated`, `reset`, `too-large`, `peer-gone`
 * - caused by this program: `closed`, `bad-rendezvous`, `empty-message`, `message-too-large`, `wrong-type`,
 *   `bad-option`
 * - no server came in time: `timeout`
 */
export class IPCChannelError extends Error {
  /**
   * @param {ErrorCode} code
   * @param {string} message
   * @param {{cause?: unknown}} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.name = 'IPCChannelError';
    this.code = code;
  }
}

/** A TypeError, as Node's own functions throw for an argument of the wrong type, with our code. */
export class WrongTypeError extends TypeError {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = 'TypeError';
    this.code = /** @type {const} */ ('wrong-type');
  }
}

/** Shaped like the AbortError of Node's own functions: the signal's reason is the cause. */
export class AbortError extends Error {
  /** @param {unknown} reason */
  constructor(reason) {
    super('The operation was aborted', { cause: reason });
    this.name = 'AbortError';
    this.code = /** @type {const} */ ('ABORT_ERR');
  }
}

/**
 * The code of a system error such as EPIPE, or undefined.
 *
 * @param {unknown} error
 * @returns {string | undefined}
 */
export function systemCode(error) {
  return /** @type {NodeJS.ErrnoException | undefined} */ (error)?.code;
}
