import { readNow } from './pipe-end.js';
import { SocketStream } from './socket-stream.js';

/**
 * @typedef {import('./stream.js').Stream} Stream
 * @typedef {import('./stream.js').Handler} Handler
 */

/**
 * A connected Unix socket as a byte stream.
 *
 * `destroy` closes the only descriptor, since Node's descriptors are closed on exec. That shuts down both
 * directions, and the peer still gets what the kernel has taken.
 *
 * @implements {Stream}
 */
export class UnixStream extends SocketStream {
  /**
   * If data and a reset arrive together, libuv delivers the data and then reports an end of stream instead of
   * the reset. The kernel still gives the reset to the next read. A write would not tell, because it fails
   * with EPIPE after an end of stream, too.
   *
   * @protected
   * @override
   * @param {Handler} handler
   */
  tellEnd(handler) {
    try {
      this.#takeRest(handler);
    } catch (error) {
      handler.onError(/** @type {Error} */ (error));
      return;
    }
    handler.onEnd();
  }

  /** @param {Handler} handler */
  #takeRest(handler) {
    const { descriptor } = this.socket;
    if (descriptor === null) return;
    const buffer = Buffer.allocUnsafe(64 * 1024);
    for (;;) {
      const count = readNow(descriptor, buffer);
      if (!count) return;
      handler.onBytes(buffer.subarray(0, count));
    }
  }

  /** What the kernel has taken is in the peer's receive buffer already. */
  async isAcknowledged() {
    return true;
  }
}
