import { setMaxListeners } from 'node:events';
import { inspect } from 'node:util';
import { duplexOver } from './duplex.js';
import { signalOf } from './options.js';
import { Session } from './session.js';

/**
 * Makes the reads of a channel give null although its session goes on. Not for users.
 *
 * @type {(channel: Channel) => void}
 */
export let stopReading;

/**
 * The session of a channel, for the layers of this package that work below `read`. Not for users.
 *
 * @type {(channel: Channel) => Session}
 */
export let sessionOf;

/** A connected channel; `connect` and `connectFromEnv` make it. */
export class Channel {
  static {
    stopReading = (channel) => channel.#session.stopReading();
    sessionOf = (channel) => channel.#session;
  }

  #session;
  #rendezvous;
  /** @type {import('node:stream').Duplex | null} */
  #stream = null;

  /**
   * @param {Session} session
   * @param {object} rendezvous what `console.log` shows of it
   */
  constructor(session, rendezvous) {
    if (!(session instanceof Session)) {
      throw new TypeError('a Channel comes from connect() or connectFromEnv(), not from new');
    }
    this.#session = session;
    this.#rendezvous = rendezvous;
  }

  /**
   * How the session ended, or null until every message is read and the end has come.
   *
   * @returns {import('./end.js').EndReason | null}
   */
  get endReason() {
    return this.#session.endReason;
  }

  /**
   * The next message, or null at the end.
   *
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<Buffer | null>}
   */
  async read(options) {
    return this.#session.read(signalOf('read', options));
  }

  /**
   * Sends one message. Resolves when the kernel has taken all of it.
   *
   * @param {NodeJS.ArrayBufferView | ArrayBuffer} message
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<void>}
   */
  async write(message, options) {
    return this.#session.write(message, signalOf('write', options));
  }

  /**
   * Sends what was written and the close frame, and frees everything.
   *
   * @returns {Promise<void>}
   */
  close() {
    return this.#session.close();
  }

  /**
   * What `console.log` shows.
   *
   * @param {number} depth
   * @param {import('node:util').InspectOptionsStylized} options
   */
  [inspect.custom](depth, options) {
    if (depth < 0) return options.stylize('[Channel]', 'special');
    const shown = { ...this.#session.describe(), ...this.#rendezvous };
    return `Channel ${inspect(shown, options)}`;
  }

  /** The channel as a Duplex in object mode, always the same one. */
  stream() {
    this.#stream ??= duplexOver(this.#session);
    return this.#stream;
  }

  /**
   * The messages up to the end. Leaving the loop early leaves the channel open: the application may
   * still want to answer.
   *
   * @returns {AsyncIterableIterator<Buffer>}
   */
  [Symbol.asyncIterator]() {
    const leaving = new AbortController();
    setMaxListeners(0, leaving.signal); // a listener for each `next` that waits
    const read = () => this.#session.read(leaving.signal);
    return {
      async next() {
        const value = await read().catch((error) => {
          if (leaving.signal.aborted) return null; // the loop was left while this read waited
          throw error;
        });
        return value === null ? { done: true, value: undefined } : { done: false, value };
      },
      async return(value) {
        leaving.abort();
        return { done: true, value };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }
}

// Node 20 has the symbol from 20.4 on; without it there is no `await using` to serve.
if (Symbol.asyncDispose) {
  Object.defineProperty(Channel.prototype, Symbol.asyncDispose, {
    value: Channel.prototype.close,
    writable: true,
    configurable: true,
  });
}
