import { closeEnd, hasReader, readNow, reopenToRead } from './pipe-end.js';
import { Socket } from './socket.js';

/**
 * @typedef {import('./pipe-end.js').PipeEnd} PipeEnd
 * @typedef {import('./stream.js').Stream} Stream
 * @typedef {import('./stream.js').Handler} Handler
 *
 * @typedef {object} OpenPipes
 * @property {import('./path.js').Path} inPath
 * @property {import('./path.js').Path} outPath
 * @property {PipeEnd} inEnd
 * @property {PipeEnd | null} outEnd null if the peer no longer reads there
 * @property {Buffer} initialData what was read from `inEnd` while connecting
 * @property {boolean} inEnded whether nothing can follow the initial data
 */

// The longest pause between two looks for a peer that has not sent a byte, after a stray opener has closed
// the pipe that we read. In milliseconds.
const LONGEST_LOOK = 100;

/**
 * The two named pipes of a session as a byte stream.
 *
 * @implements {Stream}
 */
export class NamedPipeStream {
  #pipes;
  #in;
  /** @type {Socket | null} */
  #reader = null;
  /** @type {Socket | null} */
  #writer = null;
  /** @type {Handler | null} */
  #handler = null;
  #firstByteSeen = false;
  #referenced = true;
  #destroyed = false;
  #ended = false;
  /** @type {NodeJS.Timeout | undefined} */
  #look;

  /** @param {OpenPipes} pipes */
  constructor(pipes) {
    this.#pipes = pipes;
    this.#in = pipes.inEnd;
    if (pipes.outEnd !== null) {
      this.#writer = this.#open({ fd: pipes.outEnd.fd, readable: false, writable: true });
    }
  }

  /** @param {Handler} handler */
  start(handler) {
    this.#handler = handler;
    const { initialData, inEnded } = this.#pipes;
    if (initialData.length > 0) this.#take(initialData);
    if (inEnded) {
      closeEnd(this.#in);
      this.#end();
    } else {
      this.#startReader();
    }
  }

  resume() {
    this.#reader?.resume();
  }

  /**
   * @param {Buffer} bytes
   * @param {(error: Error | null) => void} done
   */
  write(bytes, done) {
    if (this.#writer !== null) this.#writer.send(bytes, done);
    else
      process.nextTick(
        done,
        Object.assign(new Error('the peer no longer reads'), { code: 'EPIPE' }),
      );
  }

  get unsent() {
    return this.#writer?.unsent ?? 0;
  }

  /** The kernel does not say whether the peer has read what is in a pipe. */
  async isAcknowledged() {
    return false;
  }

  /** Does nothing: the close frame has said it, and the open descriptor tells whether the peer still reads. */
  shutdown() {}

  abortWrite() {
    this.#writer?.destroy();
  }

  /** @param {boolean} wanted */
  setReferenced(wanted) {
    this.#referenced = wanted;
    for (const socket of [this.#reader, this.#writer]) {
      // On a destroyed socket, ref and unref would add a listener for 'connect' at each call.
      if (socket === null || socket.destroyed) continue;
      if (wanted) socket.ref();
      else socket.unref();
    }
  }

  async destroy() {
    this.#destroyed = true;
    clearTimeout(this.#look);
    this.#reader?.destroy();
    this.#writer?.destroy();
    await Promise.all([this.#reader?.freed, this.#writer?.freed]);
  }

  #startReader() {
    this.#reader = this.#open({ fd: this.#in.fd, readable: true, writable: false });
    this.#reader.on('end', () => this.#streamEnded());
  }

  /** @param {import('node:net').SocketConstructorOpts} options */
  #open(options) {
    const socket = new Socket(options, (chunk) => this.#take(chunk));
    socket.on('error', (error) => this.#fail(error));
    if (!this.#referenced) socket.unref();
    return socket;
  }

  /** @param {Buffer} chunk */
  #take(chunk) {
    this.#firstByteSeen = true;
    return this.#handler?.onBytes(chunk) ?? false;
  }

  /**
   * Every writer of the named pipe that we read has gone. Before the first byte that proves little: a
   * stray opener may have opened and closed the pipe. Then the peer has left only if it no longer reads
   * either.
   */
  #streamEnded() {
    if (this.#destroyed) return;
    clearTimeout(this.#look);
    const gone = this.#firstByteSeen || (this.#peerGone() && this.#takeRest());
    try {
      if (gone || !this.#reopenIn()) this.#end();
      else this.#lookAfter(1);
    } catch (error) {
      // No descriptor is left to open the pipe anew. That is a failure of this end, not the peer's end.
      this.#fail(/** @type {Error} */ (error));
    }
  }

  /** @param {Error} error */
  #fail(error) {
    this.#ended = true;
    this.#handler?.onError(error);
  }

  #end() {
    this.#ended = true;
    this.#handler?.onEnd();
  }

  /**
   * Since the end of stream the peer may have come and written.
   *
   * @returns {boolean} whether the peer has left as well
   */
  #takeRest() {
    for (;;) {
      const buffer = Buffer.allocUnsafe(64 * 1024);
      const count = readNow(this.#in.fd, buffer);
      if (!count) return count === 0;
      this.#take(buffer.subarray(0, count));
    }
  }

  #peerGone() {
    const { outEnd, outPath } = this.#pipes;
    if (outEnd === null || this.#writer === null || this.#writer.destroyed) return true;
    return hasReader(outEnd, outPath) === false;
  }

  /** Opens the named pipe anew before the old descriptor is closed, so that no byte written meanwhile is lost. */
  #reopenIn() {
    const again = reopenToRead(this.#in, this.#pipes.inPath);
    if (again === null) return false;
    this.#in = again;
    this.#startReader();
    return true;
  }

  /**
   * After the end of stream of a stray opener, no further one need come. A dying peer closes one pipe after
   * the other: if it closed the pipe that we read first, that looked like a stray opener.
   *
   * @param {number} delay
   */
  #lookAfter(delay) {
    clearTimeout(this.#look);
    this.#look = setTimeout(() => this.#lookForPeer(delay), delay);
    this.#look.unref();
  }

  /** @param {number} delay */
  #lookForPeer(delay) {
    if (this.#destroyed || this.#ended || this.#firstByteSeen) return;
    if (this.#peerGone()) this.#takeLastWords();
    else this.#lookAfter(Math.min(delay * 2, LONGEST_LOOK));
  }

  /** The peer may have sent something and left since the socket last looked. */
  #takeLastWords() {
    const buffer = Buffer.allocUnsafe(1);
    const count = readNow(this.#in.fd, buffer);
    if (count === 0) this.#end();
    else if (count !== null) this.#take(buffer);
    else this.#lookAfter(LONGEST_LOOK);
  }
}
