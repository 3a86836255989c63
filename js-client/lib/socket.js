import net from 'node:net';

import { systemCode } from './errors.js';

// One read of the kernel takes at most this much; libuv's own choice.
const READ_SIZE = 64 * 1024;
// The other end reset the connection: EPIPE if it had ended its direction before.
const ONLY_WHEN_ESTABLISHED = new Set(['ECONNRESET', 'EPIPE']);

/**
 * A net.Socket that outlives a failed write and an early reset, and reads into one buffer.
 *
 * Node destroys a socket whose write fails, and with it the messages that have already arrived. Here
 * the stream machinery never hears of the failure; it is reported to the caller of `send`.
 *
 * A server may let us in, write and reset before this process looks again. Node calls that a connect
 * that failed, and destroys the socket with all that has arrived. But a port where no server listens
 * refuses the connection; only one that was established can be reset (RDV-43).
 */
export class Socket extends net.Socket {
  /** @type {Error | null} */
  #writeError = null;
  #established = false;
  /** @type {Error | null} the reset that was told instead of the connection */
  earlyReset = null;

  /**
   * @param {import('node:net').SocketConstructorOpts} options
   * @param {(chunk: Buffer) => boolean} onBytes takes a chunk that is valid during the call only;
   *   false stops reading until `resume`
   */
  constructor(options, onBytes) {
    const buffer = Buffer.allocUnsafeSlow(options.readable === false ? 1 : READ_SIZE);
    const callback = (/** @type {number} */ count) => onBytes(buffer.subarray(0, count));
    // `onread` is missing in the types of the constructor.
    super(/** @type {object} */ ({ ...options, onread: { buffer, callback } }));
    /** Resolves when the descriptor is closed. */
    this.freed = new Promise((resolve) => this.once('close', resolve));
    this.#established = options.fd !== undefined;
    this.once('connect', () => {
      this.#established = true;
    });
  }

  /**
   * @param {Error} [error]
   * @returns {this}
   */
  destroy(error) {
    const code = systemCode(error) ?? '';
    if (this.#established || !ONLY_WHEN_ESTABLISHED.has(code)) return super.destroy(error);
    if (code === 'ECONNRESET') this.earlyReset = error ?? null;
    this.emit('connect');
    return this;
  }

  /** Bytes that the kernel has not taken, which it takes a part at a time. */
  get unsent() {
    // Not in the types; what Node's own timeout of a socket looks at.
    const { _handle: handle } = /** @type {{_handle?: {writeQueueSize?: number}}} */ (
      /** @type {unknown} */ (this)
    );
    return handle?.writeQueueSize ?? 0;
  }

  /**
   * Writes, and calls back once the kernel has the bytes.
   *
   * @param {Buffer} bytes
   * @param {(error: Error | null) => void} done
   */
  send(bytes, done) {
    this.write(bytes, (error) => {
      // A destroyed socket may call back without an error although nothing was sent, or with one that
      // does not tell why it was destroyed.
      const lost = this.destroyed ? new Error('the socket was destroyed') : null;
      done(this.#writeError ?? this.errored ?? error ?? lost);
    });
  }

  /**
   * @param {Buffer} chunk
   * @param {BufferEncoding} encoding
   * @param {(error?: Error | null) => void} callback
   */
  _write(chunk, encoding, callback) {
    super._write(chunk, encoding, (error) => {
      if (error) this.#writeError ??= error;
      callback();
    });
  }
}
