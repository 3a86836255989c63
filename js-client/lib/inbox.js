import { onAbort, throwIfAborted } from './abort.js';
import { Queue } from './queue.js';

/**
 * @typedef {import('./end.js').End} End
 * @typedef {{
 *   resolve: (message: Buffer | null) => void,
 *   reject: (error: Error) => void,
 *   release: () => void,
 * }} Reader
 */

// How much is read ahead of the application. Above it the session stops reading, so the peer's
// writes wait in turn.
const READ_AHEAD = 1024 * 1024;
// A Buffer of one byte costs some 200 bytes of memory; tiny messages must count for what they are.
const MESSAGE_OVERHEAD = 256;

/** Messages that wait for a reader, or readers that wait for a message, and the end. */
export class Inbox {
  /** @type {Queue<Buffer>} */
  #messages = new Queue();
  /** @type {Queue<Reader>} */
  #readers = new Queue();
  #cost = 0;
  /** @type {End | null} */
  #end = null;
  #changed;

  /** @param {() => void} changed called when a read begins or ceases to wait or a message was taken */
  constructor(changed) {
    this.#changed = changed;
  }

  get full() {
    return this.#cost >= READ_AHEAD;
  }

  /** Whether so much was taken that reading is worth going on with. */
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

  /** The end, once every message before it was taken. */
  get reachedEnd() {
    return this.#messages.size === 0 ? this.#end : null;
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
  async take(signal) {
    throwIfAborted(signal);
    const message = this.#messages.shift();
    if (message !== undefined) {
      this.#cost -= message.length + MESSAGE_OVERHEAD;
      this.#changed();
      return message;
    }
    if (this.#end?.error) throw this.#end.error;
    if (this.#end) return null;
    return this.#wait(signal);
  }

  /**
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<Buffer | null>}
   */
  #wait(signal) {
    return new Promise((resolve, reject) => {
      // First, as a signal of somebody else's making may throw: no reader may be left behind then.
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
   * Nothing more will come. The first end counts.
   *
   * @param {End} end
   */
  finish(end) {
    this.#end ??= end;
    for (let reader = this.#readers.shift(); reader; reader = this.#readers.shift()) {
      reader.release();
      if (this.#end.error) reader.reject(this.#end.error);
      else reader.resolve(null);
    }
    this.#changed();
  }

  /**
   * Our own close: what nobody has read is dropped. An end that the readers had not reached yet
   * gives way to this one.
   *
   * @param {End} end
   */
  discard(end) {
    if (this.reachedEnd === null) this.#end = end;
    this.#messages.clear();
    this.#cost = 0;
    this.finish(end);
  }
}
