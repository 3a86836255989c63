import { onAbort, throwIfAborted } from './abort.js';
import { IPCChannelError } from './errors.js';
import { Queue } from './queue.js';

/**
 * @typedef {import('./end.js').End} End
 * @typedef {import('./session-state.js').SessionState} SessionState
 * @typedef {{
 *   resolve: (message: Buffer | null) => void,
 *   reject: (error: Error) => void,
 *   release: () => void,
 * }} Reader
 *
 * @typedef {object} Consumer takes the messages instead of reads, as they arrive
 * @property {boolean} active whether it takes messages; meanwhile it keeps the process alive as a read does
 * @property {boolean} full whether the session is to read nothing more for now
 * @property {(message: Buffer) => void} onMessage
 * @property {(end: End) => void} onEnd the session has ended; may be called more than once
 * @property {() => void} onStop see `stop`
 */

// How many bytes are read ahead of the application. Above that the session stops reading, and the peer
// blocks in its writes.
const READ_AHEAD = 1024 * 1024;
// A Buffer of 1 byte takes some 200 bytes of memory, so each message counts for this much more.
const MESSAGE_OVERHEAD = 256;

/** Messages that wait for a reader, or readers that wait for a message or for the end. */
export class Inbox {
  #messages;
  #state;
  /** @type {Queue<Reader>} */
  #readers = new Queue();
  #cost = 0;
  #stopped = false;
  /** @type {Consumer | null} */
  #consumer = null;
  #changed;

  /**
   * @param {Queue<Buffer>} messages the messages that no reader has taken
   * @param {SessionState} state
   * @param {() => void} changed called when a read begins or stops waiting, or has taken a message
   */
  constructor(messages, state, changed) {
    this.#messages = messages;
    this.#state = state;
    this.#changed = changed;
  }

  get full() {
    return this.#cost >= READ_AHEAD || this.#consumer?.full === true;
  }

  /** Whether the readers have taken enough for the session to go on reading. */
  get hasRoom() {
    return this.#cost < READ_AHEAD / 2 && this.#consumer?.full !== true;
  }

  /** How many messages wait for a reader. */
  get unread() {
    return this.#messages.size;
  }

  /** How many readers wait for a message. An active consumer counts as one. */
  get readers() {
    return this.#consumer?.active ? 1 : this.#readers.size;
  }

  /**
   * Gives all messages to a consumer from now on, and none to reads.
   *
   * @param {Consumer} consumer
   */
  claim(consumer) {
    if (this.#consumer !== null) throw claimed();
    if (this.#readers.size > 0) {
      const text =
        'a read of the channel waits: abort it before a RequestChannel takes the channel';
      throw new IPCChannelError('bad-option', text);
    }
    this.#consumer = consumer;
    if (this.#stopped) consumer.onStop();
  }

  /** Hands over what arrived before the consumer was active, and the end if it has come. */
  consume() {
    const consumer = /** @type {Consumer} */ (this.#consumer);
    while (consumer.active) {
      const message = this.#messages.shift();
      if (message === undefined) break;
      this.#cost -= message.length + MESSAGE_OVERHEAD;
      consumer.onMessage(message);
    }
    const { end } = this.#state;
    if (end !== null && consumer.active) consumer.onEnd(end);
    this.#changed();
  }

  /** @param {Buffer} message */
  push(message) {
    if (this.#consumer?.active) {
      this.#consumer.onMessage(message);
      return;
    }
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.release();
      reader.resolve(message);
      this.#changed();
      return;
    }
    this.#messages.push(message);
    this.#cost += message.length + MESSAGE_OVERHEAD;
  }

  /**
   * The next message, or null at an end without an error.
   *
   * An aborted call takes nothing: a message leaves the queue in the same step that settles the
   * call which gets it.
   *
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<Buffer | null>}
   */
  async read(signal) {
    throwIfAborted(signal);
    if (this.#consumer !== null && this.#state.endReason === null) throw claimed();
    const message = this.#stopped ? undefined : this.#messages.shift();
    if (message !== undefined) {
      this.#cost -= message.length + MESSAGE_OVERHEAD;
      this.#changed();
      return message;
    }
    const { end } = this.#state;
    if (end === null && !this.#stopped) return this.#wait(signal);
    if (end?.error) throw end.error;
    return null;
  }

  /**
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<Buffer | null>}
   */
  #wait(signal) {
    return new Promise((resolve, reject) => {
      // First, because a signal that the caller implements may throw, and must leave no reader behind.
      const release = onAbort(signal, (error) => {
        this.#readers.delete(node);
        reject(error);
        this.#changed();
      });
      const node = this.#readers.push({ resolve, reject, release });
      this.#changed();
    });
  }

  /**
   * Gives every waiting reader the end.
   *
   * @param {End} end
   */
  wakeReaders(end) {
    if (this.#consumer?.active) this.#consumer.onEnd(end);
    this.#settleReaders(end.error);
  }

  /** @param {End['error']} error */
  #settleReaders(error) {
    for (let reader = this.#readers.shift(); reader; reader = this.#readers.shift()) {
      reader.release();
      if (error === null) reader.resolve(null);
      else reader.reject(error);
    }
    this.#changed();
  }

  /** Gives readers null from now on, unless the session ends with an error; messages stay unread. */
  stop() {
    this.#stopped = true;
    this.#consumer?.onStop();
    this.#settleReaders(null);
  }

  /** Drops the messages that no reader has taken. */
  discard() {
    this.#messages.clear();
    this.#cost = 0;
  }
}

function claimed() {
  const text =
    'a RequestChannel takes the messages of this channel: use its methods call and serve';
  return new IPCChannelError('bad-option', text);
}
