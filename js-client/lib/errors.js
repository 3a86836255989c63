import { inspect } from 'node:util';

/**
 * @typedef {'truncated' | 'reset' | 'too-large' | 'peer-gone' | 'closed' | 'bad-rendezvous'
 *   | 'empty-message' | 'message-too-large' | 'wrong-type' | 'bad-option' | 'timeout'
 *   | 'unanswered' | 'bad-message'} ErrorCode
 */

/**
 * The error of a channel. `code` says what happened:
 *
 * - caused by the peer: `truncated`, `reset`, `too-large`, `peer-gone`
 * - caused by this program: `closed`, `bad-rendezvous`, `empty-message`, `message-too-large`, `wrong-type`,
 *   `bad-option`
 * - no server came in time, or no answer to a request: `timeout`
 * - of requests: `unanswered`, `bad-message`
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

const CODE = /^[a-z0-9-]{1,64}$/;

/** @param {unknown} code */
export function isRequestCode(code) {
  return typeof code === 'string' && CODE.test(code);
}

/**
 * The error with which a request was answered (spec/requests.md, "Answers"). A handler throws one to choose
 * the code and the text; a call rejects with the one that has come.
 */
export class RequestError extends Error {
  /**
   * @param {string} code 1 to 64 lower-case letters, digits and hyphens
   * @param {string} [text]
   * @param {{cause?: unknown}} [options]
   */
  constructor(code, text = '', options) {
    if (!isRequestCode(code)) {
      const range = '1 to 64 lower-case letters, digits and hyphens';
      const message = `the code of a RequestError must be ${range}, not ${inspect(code)}`;
      throw new IPCChannelError('bad-option', message);
    }
    super(text, options);
    this.name = 'RequestError';
    this.code = code;
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
