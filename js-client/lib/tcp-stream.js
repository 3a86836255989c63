import { systemCode } from './errors.js';
import { Socket } from './socket.js';
import { unacknowledged } from './tcp-table.js';

/**
 * @typedef {import('./stream.js').Stream} Stream
 * @typedef {import('./stream.js').Handler} Handler
 */

/**
 * A TCP connection as a byte stream.
 *
 * @implements {Stream}
 */
export class TCPStream {
  #socket;
  /** @type {Handler | null} */
  #handler = null;

  constructor() {
    this.#socket = new Socket(
      { allowHalfOpen: true },
      (chunk) => this.#handler?.onBytes(chunk) ?? false,
    );
    // Reading starts with the session, not before: the first bytes have somewhere to go.
    this.#socket.pause();
    this.#socket.setNoDelay(true);
  }

  /**
   * Tries once. Settles when the kernel has decided, or with an error when `destroy` is called.
   *
   * @param {{host: string, port: number}} address
   * @returns {Promise<void>}
   */
  open(address) {
    const socket = this.#socket;
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('given up')));
      socket.connect(address, () => {
        socket.off('error', reject);
        resolve();
      });
    });
  }

  /** On a free port of the ephemeral range a socket can connect to itself. */
  get toItself() {
    const { localAddress, localPort, remoteAddress, remotePort } = this.#socket;
    return localPort === remotePort && localAddress === remoteAddress;
  }

  /** @param {Handler} handler */
  start(handler) {
    this.#handler = handler;
    this.#socket.on('end', () => this.#streamEnded(handler));
    this.#socket.on('error', (error) => handler.onError(error));
    this.#socket.resume();
  }

  /**
   * Where data and a reset arrive together, libuv delivers the data and calls the reset an end of
   * stream. The kernel still knows: a write, even of nothing, fails with ECONNRESET.
   *
   * @param {Handler} handler
   */
  #streamEnded(handler) {
    const socket = this.#socket;
    if (socket.earlyReset) handler.onError(socket.earlyReset);
    else if (!socket.writable) handler.onEnd();
    // A write that waits already is told of the reset in this turn of the event loop.
    else if (socket.writableLength > 0) setImmediate(() => handler.onEnd());
    else {
      socket.send(Buffer.alloc(0), (error) => {
        if (systemCode(error) === 'ECONNRESET') handler.onError(/** @type {Error} */ (error));
        else handler.onEnd();
      });
    }
  }

  resume() {
    this.#socket.resume();
  }

  /**
   * @param {Buffer} bytes
   * @param {(error: Error | null) => void} done
   */
  write(bytes, done) {
    this.#socket.send(bytes, done);
  }

  get unsent() {
    return this.#socket.unsent;
  }

  async isAcknowledged() {
    return (await unacknowledged(this.#socket)) === 0;
  }

  shutdown() {
    this.#socket.end();
  }

  abortWrite() {
    this.#socket.end();
  }

  /** @param {boolean} wanted */
  setReferenced(wanted) {
    if (this.#socket.destroyed) return;
    if (wanted) this.#socket.ref();
    else this.#socket.unref();
  }

  async destroy() {
    this.#socket.destroy();
    await this.#socket.freed;
  }
}
