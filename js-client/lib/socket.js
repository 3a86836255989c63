import net from 'node:net';

// One read of the kernel takes at most this much; libuv's own choice.
const READ_SIZE = 64 * 1024;

/**
 * A net.Socket that outlives a failed write, and reads into one buffer.
 *
 * Node destroys a socket whose write fails, and with it the messages that have already arrived. Here
 * the stream machinery never hears of the failure; it is reported to whoever wrote.
 */
export class Socket extends net.Socket {
  /** @type {Error | null} */
  #writeError = null;

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
  }

  /**
   * Writes, and calls back once the kernel has the bytes.
   *
   * @param {Buffer} bytes
   * @param {(error: Error | null) => void} done
   */
  send(bytes, done) {
    this.write(bytes, (error) => {
      // A destroyed socket may call back without an error although nothing was sent.
      const cut = this.destroyed ? (this.errored ?? new Error('the socket was destroyed')) : null;
      done(this.#writeError ?? error ?? cut);
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
