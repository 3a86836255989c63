import { onAbort, throwIfAborted } from './abort.js';
import { Queue } from './queue.js';

/**
 * @typedef {import('./end.js').End} End
 * @typedef {import('./session-state.js').SessionState} SessionState
 * @typedef {{
 *   resolve: (message: Buffer | null) => void,
 *   reject: (error: Error) => void,
 *   release: () => void,
 * }} Reader
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
    return this.#cost >= READ_AHEAD;
  }

  /** Whether the readers have taken enough for the session to go on reading. */
  get hasRoom() {
    return this.#cost < READ_AHEAD / 2;
  }

  /** How many messages wait for a reader. */
  get unread() {
    return this.#messages.size;
  }

  /** How many readers wait for a message. */
  get readers() {
    return this.#readers.size;
  }

  /** @param {Buffer} message */
  push(message) {
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
   * @param {Pick<End, 'error'>} end
   */
  wakeReaders({ error }) {
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
    this.wakeReaders({ error: null });
  }

  /** Drops the messages that no reader has taken. */
  discard() {
    this.#messages.clear();
    this.#cost = 0;
  }
}
