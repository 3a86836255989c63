import { throwIfAborted } from './abort.js';
import { Closing } from './closing.js';
import { Decoder } from './decoder.js';
import { peerGone, reset } from './end.js';
import { systemCode } from './errors.js';
import { payloadOf } from './frame.js';
import { Inbox } from './inbox.js';
import { ProcessReference } from './process-reference.js';
import { Queue } from './queue.js';
import { Sender } from './sender.js';
import { SessionState } from './session-state.js';

/**
 * @typedef {import('./stream.js').Stream} Stream
 * @typedef {import('./end.js').InputEnd} InputEnd
 * @typedef {import('./errors.js').IPCChannelError} IPCChannelError
 * @typedef {import('./session-state.js').Event} Event
 */

/** @type {Readonly<Record<InputEnd['reason'], Event>>} */
const EVENT_OF_END = {
  clean: 'close-frame',
  eof: 'end-at-boundary',
  truncated: 'end-inside-frame',
  too_large: 'over-limit',
};

/** One connected session over a byte stream. SessionState decides what each event leads to. */
export class Session {
  #stream;
  #singleStream;
  #maxMessageSize;
  #linger;
  /** @type {Queue<Buffer>} */
  #undelivered = new Queue();
  #state = new SessionState(this.#undelivered);
  #inbox = new Inbox(this.#undelivered, this.#state, () => this.#inboxChanged());
  #decoder;
  #sender;
  #reference;
  #closing;
  /** @type {Promise<void> | null} */
  #closed = null;
  #paused = false;

  /**
   * @param {import('./transports.js').Transport} transport
   * @param {Stream} stream
   * @param {{maxMessageSize: number, linger: number}} options
   */
  constructor(transport, stream, { maxMessageSize, linger }) {
    this.#stream = stream;
    this.#singleStream = transport.singleStream;
    this.#maxMessageSize = maxMessageSize;
    this.#linger = linger;
    this.#decoder = new Decoder(maxMessageSize);
    this.#closing = new Closing(
      transport,
      stream,
      linger,
      () => this.#decoder.end?.reason === 'clean',
    );
    this.#reference = new ProcessReference(
      () => this.#isBusy,
      (wanted) => stream.setReferenced(wanted),
    );
    this.#sender = new Sender(this.#state, {
      write: (bytes, done) => this.#send(bytes, done),
      changed: () => this.#reference.update(),
      aborted: (error) => this.#frameAborted(error),
    });
    stream.start({
      onBytes: (chunk) => this.#onBytes(chunk),
      onEnd: () => this.#streamEnded(),
      onError: (error) => this.#readFailed(error),
    });
    this.#reference.update();
  }

  get endReason() {
    return this.#state.endReason;
  }

  /** What `console.log` shows of the session. */
  describe() {
    return {
      state: this.#shownState,
      endReason: this.endReason,
      unreadMessages: this.#inbox.unread,
      waitingReads: this.#inbox.readers,
      unsentMessages: this.#sender.unsent,
      maxMessageSize: this.#maxMessageSize,
      linger: this.#linger,
    };
  }

  get #shownState() {
    if (this.#state.closeCalled) return this.#state.phase;
    return this.endReason === null ? 'connected' : 'ended';
  }

  /**
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<Buffer | null>}
   */
  read(signal) {
    return this.#inbox.read(signal);
  }

  /** Makes reads give null although the session goes on; see runHelper. */
  stopReading() {
    this.#inbox.stop();
  }

  get maxMessageSize() {
    return this.#maxMessageSize;
  }

  /**
   * Gives all messages to a consumer from now on, and none to reads.
   *
   * @param {import('./inbox.js').Consumer} consumer
   */
  claim(consumer) {
    this.#inbox.claim(consumer);
  }

  /** The consumer has become active: hands over the messages that wait for it. */
  consume() {
    this.#inbox.consume();
  }

  /** The consumer has become inactive, or is no longer full. */
  consumerChanged() {
    this.#inboxChanged();
  }

  /**
   * Sends a message without the cost of a promise.
   *
   * @param {Uint8Array} message neither empty nor too large; must not change before it is settled
   * @param {(error?: Error) => void} settled called once the kernel has the message, or with what stopped it
   */
  post(message, settled) {
    this.#sender.post(message, settled);
  }

  /**
   * @param {unknown} message
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<void>}
   */
  async write(message, signal) {
    const payload = payloadOf(message, this.#maxMessageSize);
    throwIfAborted(signal);
    await this.#sender.send(payload, signal);
  }

  /**
   * Whether `write` would not refuse the message.
   *
   * @param {unknown} message
   */
  canSend(message) {
    try {
      return payloadOf(message, this.#maxMessageSize).length > 0;
    } catch {
      return false;
    }
  }

  /**
   * Sends the close frame and goes on reading. Only `close` ends the stream itself: on a socket that is shut
   * down, the kernel no longer tells a reset from an end of stream.
   */
  sendCloseFrame() {
    return this.#sender.sendCloseFrame();
  }

  /** @returns {Promise<void>} */
  close() {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close() {
    this.#on('close');
    this.#inbox.discard();
    // Go on reading, and drop the input: a peer that is blocked in a write of its own would otherwise
    // never get to read our last messages.
    this.#resume();
    const event = await this.#closing.wait(this.#sender.sendCloseFrame());
    this.#sender.drop();
    await this.#stream.destroy();
    this.#on(event);
  }

  /**
   * Follows the table of states, and settles the reads and writes that need not wait any more.
   *
   * @param {Event} event
   * @param {IPCChannelError | null} [error]
   */
  #on(event, error) {
    if (!this.#state.on(event, error)) return;
    this.#sender.followState();
    const { end } = this.#state;
    if (end !== null) this.#inbox.wakeReaders(end);
  }

  /** @param {InputEnd} end */
  #inputEnded({ reason, error }) {
    this.#on(EVENT_OF_END[reason], error);
  }

  /**
   * @param {Buffer} chunk
   * @returns {boolean} whether to go on reading
   */
  #onBytes(chunk) {
    if (this.#state.closeCalled) return this.#drop(chunk);
    this.#decoder.push(chunk, (message) => {
      if (!this.#state.closeCalled) this.#inbox.push(message);
    });
    if (this.#state.closeCalled) return true; // a consumer has closed: from now on the input is dropped
    if (this.#decoder.end !== null) this.#inputEnded(this.#decoder.end);
    this.#paused = this.#state.end !== null || this.#inbox.full;
    return !this.#paused;
  }

  /**
   * Decodes the input all the same, to see the close frame.
   *
   * @param {Buffer} chunk
   */
  #drop(chunk) {
    this.#decoder.push(chunk, () => {});
    this.#closing.onInput();
    return true;
  }

  #streamEnded() {
    this.#closing.onInputEnd();
    this.#inputEnded(this.#decoder.endStream());
  }

  /** @param {Error} error */
  #readFailed(error) {
    this.#closing.onInputEnd();
    const isReset = this.#singleStream || systemCode(error) === 'ECONNRESET';
    const event = isReset ? 'reset-on-read' : 'read-failed';
    this.#on(event, reset(error, this.#sender));
  }

  /**
   * @param {Buffer} bytes
   * @param {() => void} done
   */
  #send(bytes, done) {
    this.#stream.write(bytes, (error) => {
      this.#closing.onOutput();
      if (error === null) done();
      else this.#writeFailed(error);
    });
  }

  /** @param {Error} error */
  #writeFailed(error) {
    if (systemCode(error) === 'ECONNRESET') this.#on('reset-on-write', reset(error, this.#sender));
    else this.#on('peer-gone-on-write', peerGone(error, this.#sender));
  }

  /** @param {IPCChannelError} error */
  #frameAborted(error) {
    this.#on('frame-aborted', error);
    this.#stream.abortWrite();
  }

  #inboxChanged() {
    if (this.#paused && this.#inbox.hasRoom && this.#state.end === null) this.#resume();
    this.#reference.update();
  }

  #resume() {
    this.#paused = false;
    this.#stream.resume();
  }

  /** Whether there is something to keep the process alive for. */
  get #isBusy() {
    const isClosing = this.#state.phase === 'closing';
    return isClosing || this.#inbox.readers > 0 || this.#sender.busy;
  }
}
