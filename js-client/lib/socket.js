import net from 'node:net';

import { systemCode } from './errors.js';

// The size of the read buffer in bytes: what libuv would choose.
const READ_SIZE = 64 * 1024;
// Only a connection that was made can fail with these; EPIPE if the peer had ended its direction before.
const ONLY_WHEN_ESTABLISHED = new Set(['ECONNRESET', 'EPIPE']);

/**
 * A net.Socket that outlives a failed write and an early reset, and reads into one buffer.
 *
 * Node destroys a socket after a failed write, and with it the messages that have already arrived. So this
 * class hides the failure from Node's streams, and reports it to the caller of `send`.
 *
 * A server may accept the connection, write and reset it before this process runs again. Node reports that as
 * a failed connect, and destroys the socket with all that has arrived. But a port without a listener refuses
 * the connection: only an established connection can be reset (RDV-43).
 */
export class Socket extends net.Socket {
  /** @type {Error | null} */
  #writeError = null;
  #established = false;
  /** @type {Error | null} the reset that was reported instead of the connection */
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

  /** Bytes of the write under way that the kernel has not taken yet. */
  get unsent() {
    // Not in the types; Node's own socket timeout looks at it.
    const { _handle: handle } = /** @type {{_handle?: {writeQueueSize?: number}}} */ (
      /** @type {unknown} */ (this)
    );
    return handle?.writeQueueSize ?? 0;
  }

  /** The file descriptor; null once the socket is destroyed. */
  get descriptor() {
    // Not in the types either.
    const { _handle: handle } = /** @type {{_handle?: {fd?: number}}} */ (
      /** @type {unknown} */ (this)
    );
    return handle?.fd ?? null;
  }

  /**
   * Writes, and calls back once the kernel has the bytes.
   *
   * @param {Buffer} bytes
   * @param {(error: Error | null) => void} done
   */
  send(bytes, done) {
    this.write(bytes, (error) => {
      // A destroyed socket may call back without an error although nothing was sent, or with an error that
      // does not say why it was destroyed.
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
