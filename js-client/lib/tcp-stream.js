import { systemCode } from './errors.js';
import { SocketStream } from './socket-stream.js';
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
export class TCPStream extends SocketStream {
  constructor() {
    super();
    this.socket.setNoDelay(true);
  }

  /** Whether the kernel has connected the socket to itself, as it may on a free port of the ephemeral range. */
  get toItself() {
    const { localAddress, localPort, remoteAddress, remotePort } = this.socket;
    return localPort === remotePort && localAddress === remoteAddress;
  }

  /**
   * If data and a reset arrive together, libuv delivers the data and then reports an end of stream instead of
   * the reset. The kernel still knows: a write, even of 0 bytes, fails with ECONNRESET.
   *
   * @protected
   * @override
   * @param {Handler} handler
   */
  tellEnd(handler) {
    const { socket } = this;
    if (!socket.writable) handler.onEnd();
    // A write under way gets the reset in this turn of the event loop.
    else if (socket.writableLength > 0) setImmediate(() => handler.onEnd());
    else {
      socket.send(Buffer.alloc(0), (error) => {
        if (systemCode(error) === 'ECONNRESET') handler.onError(/** @type {Error} */ (error));
        else handler.onEnd();
      });
    }
  }

  async isAcknowledged() {
    return (await unacknowledged(this.socket)) === 0;
  }
}
