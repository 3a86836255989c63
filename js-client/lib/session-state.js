import { closed } from './end.js';

/**
 * @typedef {import('./end.js').End} End
 * @typedef {import('./end.js').EndReason} EndReason
 * @typedef {import('./errors.js').IPCChannelError} IPCChannelError
 *
 * @typedef {'open' | 'ended' | 'unwritable' | 'reset met' | 'refused' | 'over' | 'closing'
 *   | 'closed'} Phase the states of the table; its *R* and *W* are `end` and `refusal`
 * @typedef {'frame' | 'close-frame' | 'end-at-boundary' | 'end-inside-frame' | 'over-limit'
 *   | 'reset-on-read' | 'reset-on-write' | 'peer-gone-on-write' | 'close' | 'all-sent'
 *   | 'linger-over'} TableEvent under the names of the vectors
 * @typedef {TableEvent | 'read-failed' | 'frame-aborted'} Event
 * @typedef {readonly [next: Phase, end: EndReason | null]} Row the end counts if it is the first
 */

/** @type {Row} */
const CLOSING = ['closing', 'local'];

/**
 * The states of a session (spec/session.md, "The states in full"). An event without a row leaves the
 * state as it is.
 *
 * The page describes two of these events below its table. `read-failed` is an error other than a reset on a
 * named pipe, which leaves the other pipe as it was. `frame-aborted` is a frame that the kernel has in
 * part, while the rest is lost because the caller transferred the memory of the message.
 *
 * @type {Readonly<Record<Phase, Readonly<Partial<Record<Event, Row>>>>>}
 */
export const TABLE = {
  open: {
    'close-frame': ['ended', 'clean'],
    'end-at-boundary': ['ended', 'eof'],
    'end-inside-frame': ['ended', 'truncated'],
    'over-limit': ['refused', 'too_large'],
    'reset-on-read': ['over', 'reset'],
    'read-failed': ['ended', 'reset'],
    'reset-on-write': ['reset met', null],
    'peer-gone-on-write': ['unwritable', null],
    'frame-aborted': ['unwritable', null],
    close: CLOSING,
  },
  ended: {
    'reset-on-write': ['over', null],
    'peer-gone-on-write': ['over', null],
    'frame-aborted': ['over', null],
    close: CLOSING,
  },
  unwritable: {
    'close-frame': ['over', 'clean'],
    'end-at-boundary': ['over', 'eof'],
    'end-inside-frame': ['over', 'truncated'],
    'over-limit': ['over', 'too_large'],
    'reset-on-read': ['over', 'reset'],
    'read-failed': ['over', 'reset'],
    close: CLOSING,
  },
  'reset met': {
    'close-frame': ['over', 'clean'],
    'end-at-boundary': ['over', 'reset'],
    'end-inside-frame': ['over', 'reset'],
    'over-limit': ['over', 'too_large'],
    'reset-on-read': ['over', 'reset'],
    'read-failed': ['over', 'reset'],
    close: CLOSING,
  },
  refused: {
    'reset-on-write': ['over', null],
    'peer-gone-on-write': ['over', null],
    'frame-aborted': ['over', null],
    close: CLOSING,
  },
  over: {
    close: CLOSING,
  },
  closing: {
    'reset-on-write': ['closing', null],
    'peer-gone-on-write': ['closing', null],
    'frame-aborted': ['closing', null],
    'all-sent': ['closed', null],
    'linger-over': ['closed', null],
  },
  closed: {},
};

// After these nothing more is sent, not even the close frame (SES-36).
/** @type {ReadonlySet<Event>} */
const ENDS_SENDING = new Set([
  'reset-on-read',
  'reset-on-write',
  'peer-gone-on-write',
  'frame-aborted',
]);
/** @type {ReadonlySet<Event>} */
const ENDS_WRITING = new Set([...ENDS_SENDING, 'over-limit']);

/** Where a session is in the table. No I/O: the session reports each event when it notices it. */
export class SessionState {
  #undelivered;
  /** @type {Phase} */
  #phase = 'open';
  /** @type {End | null} */
  #end = null;
  /** @type {IPCChannelError | null} the error that ended writing first, apart from the own close */
  #writeError = null;
  #sends = true;

  /** @param {{readonly size: number}} undelivered the messages that arrived whole and that no reader has taken */
  constructor(undelivered) {
    this.#undelivered = undelivered;
  }

  get phase() {
    return this.#phase;
  }

  /** The end that the session has noticed. A reader reaches it behind the undelivered messages. */
  get end() {
    return this.#end;
  }

  /** The reason of the end that a reader has reached; null until then (SES-6). */
  get endReason() {
    return this.#undelivered.size > 0 ? null : (this.#end?.reason ?? null);
  }

  /** Whether `close` was called. */
  get closeCalled() {
    return this.#phase === 'closing' || this.#phase === 'closed';
  }

  /** What a write rejects with; null while the session accepts messages (SES-26). */
  get refusal() {
    return this.closeCalled ? closed() : this.#writeError;
  }

  /** Whether accepted messages and the close frame may still be sent. */
  get sends() {
    return this.#sends && this.#phase !== 'closed';
  }

  /**
   * Follows the table.
   *
   * @param {Event} event
   * @param {IPCChannelError | null} [error] what the event makes reads or writes reject with
   * @returns {boolean} whether the table has a row for it
   */
  on(event, error = null) {
    const row = TABLE[this.#phase][event];
    if (row === undefined) return false;
    const [next, reason] = row;
    if (ENDS_SENDING.has(event)) this.#sends = false;
    if (ENDS_WRITING.has(event)) this.#writeError ??= error;
    // An own close drops the undelivered messages, so no reader reaches an end behind them (SES-6).
    if (event === 'close' && this.#undelivered.size > 0) this.#end = null;
    if (reason !== null) this.#end ??= { reason, error: this.#readError(reason, error) };
    this.#phase = next;
    return true;
  }

  /**
   * The kernel reports a reset only once. If it reported the reset to a write, the reader gets the error of
   * that write (SES-3).
   *
   * @param {EndReason} reason
   * @param {IPCChannelError | null} error
   */
  #readError(reason, error) {
    return reason === 'reset' && this.#phase === 'reset met' ? this.#writeError : error;
  }
}
