import { Socket } from './socket.js';

/**
 * @typedef {import('./stream.js').Stream} Stream
 * @typedef {import('./stream.js').Handler} Handler
 */

/** What the streams over a connected socket share; they differ in how an end is told from a reset. */
export class SocketStream {
  /** @protected */
  socket;
  /** @protected @type {Handler | null} */
  handler = null;

  constructor() {
    this.socket = new Socket(
      { allowHalfOpen: true },
      (chunk) => this.handler?.onBytes(chunk) ?? false,
    );
    // Do not read before the session has started, and can take the bytes.
    this.socket.pause();
  }

  /**
   * Tries once. Settles when the kernel has decided, or with an error when `destroy` is called.
   *
   * @param {import('node:net').SocketConnectOpts} address
   * @returns {Promise<void>}
   */
  open(address) {
    const { socket } = this;
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('given up')));
      socket.connect(address, () => {
        socket.off('error', reject);
        resolve();
      });
    });
  }

  /** @param {Handler} handler */
  start(handler) {
    this.handler = handler;
    this.socket.on('end', () => this.streamEnded(handler));
    this.socket.on('error', (error) => handler.onError(error));
    this.socket.resume();
  }

  /**
   * @protected
   * @param {Handler} handler
   */
  streamEnded(handler) {
    if (this.socket.earlyReset) handler.onError(this.socket.earlyReset);
    else this.tellEnd(handler);
  }

  /**
   * Tells the handler of what libuv calls an end of the stream.
   *
   * @protected
   * @param {Handler} handler
   */
  tellEnd(handler) {
    handler.onEnd();
  }

  resume() {
    this.socket.resume();
  }

  /**
   * @param {Buffer} bytes
   * @param {(error: Error | null) => void} done
   */
  write(bytes, done) {
    this.socket.send(bytes, done);
  }

  get unsent() {
    return this.socket.unsent;
  }

  shutdown() {
    this.socket.end();
  }

  abortWrite() {
    this.socket.end();
  }

  /** @param {boolean} wanted */
  setReferenced(wanted) {
    if (this.socket.destroyed) return;
    if (wanted) this.socket.ref();
    else this.socket.unref();
  }

  async destroy() {
    this.socket.destroy();
    await this.socket.freed;
  }
}
