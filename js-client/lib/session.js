import { throwIfAborted } from './abort.js';
import { Decoder } from './decoder.js';
import { LOCAL, peerGone, reset } from './end.js';
import { IPCChannelError, systemCode } from './errors.js';
import { payloadOf } from './frame.js';
import { Inbox } from './inbox.js';
import { Sender } from './sender.js';
import { startTimer } from './timer.js';

/**
 * @typedef {import('./connection.js').Connection} Connection
 * @typedef {import('./end.js').End} End
 * @typedef {import('./timer.js').Timer} Timer
 */

// After the peer's close frame nothing should come; a peer that is about to end its stream does so
// within this time. In milliseconds.
const QUIET = 50;
// How often close looks whether the kernel has taken any output, of which a batch may take several lingers.
const LOOK = 20;

/** One connected session over a byte stream. */
export class Session {
  #connection;
  #maxMessageSize;
  #linger;
  /** @type {Timer | null} runs while close waits, anew whenever the kernel takes output */
  #lingering = null;
  #decoder;
  #inbox;
  #sender;
  /** @type {Promise<void> | null} */
  #closing = null;
  #closed = false;
  #paused = false;
  #referenced = true;
  #letGoSoon = false;
  /** @type {End | null} the kernel reports a reset once only, to a read or to a write */
  #resetSeen = null;
  /** @type {() => void} */
  #resolvePeerEnded = () => {};
  /** @type {Promise<void>} */
  #peerEnded = new Promise((resolve) => {
    this.#resolvePeerEnded = resolve;
  });
  /** whether close waits for nothing but the peer */
  #waiting = false;
  /** @type {Timer | null} */
  #quiet = null;
  /** @type {() => void} */
  #resolvePeerQuiet = () => {};
  /** @type {Promise<void>} */
  #peerQuiet = new Promise((resolve) => {
    this.#resolvePeerQuiet = resolve;
  });

  /**
   * @param {Connection} connection
   * @param {{maxMessageSize: number, linger: number}} options
   */
  constructor(connection, { maxMessageSize, linger }) {
    this.#connection = connection;
    this.#maxMessageSize = maxMessageSize;
    this.#linger = linger;
    this.#decoder = new Decoder(maxMessageSize);
    this.#inbox = new Inbox(() => this.#inboxChanged());
    this.#sender = new Sender(
      (bytes, done) =>
        connection.write(bytes, (error) => {
          this.#lingering?.restart();
          done(error && this.#writeFailed(error));
        }),
      () => this.#updateReference(),
      () => connection.cut(),
    );
    connection.start({
      onBytes: (chunk) => this.#takeBytes(chunk),
      onEnd: () => this.#streamEnded(),
      onError: (error) => this.#readFailed(error),
    });
    this.#updateReference();
  }

  get endReason() {
    return this.#inbox.reachedEnd?.reason ?? null;
  }

  /** What there is to know of the session, for people to read. */
  describe() {
    return {
      state: this.#state,
      endReason: this.endReason,
      unreadMessages: this.#inbox.unread,
      waitingReads: this.#inbox.readers,
      unsentMessages: this.#sender.unsent,
      maxMessageSize: this.#maxMessageSize,
      linger: this.#linger,
    };
  }

  get #state() {
    if (this.#closed) return 'closed';
    if (this.#closing !== null) return 'closing';
    return this.endReason === null ? 'connected' : 'ended';
  }

  /**
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<Buffer | null>}
   */
  read(signal) {
    return this.#inbox.take(signal);
  }

  /**
   * @param {unknown} message
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<void>}
   */
  async write(message, signal) {
    const payload = payloadOf(message, this.#maxMessageSize);
    throwIfAborted(signal);
    if (this.#closing !== null) throw closedError();
    if (this.#sender.error !== null) throw this.#sender.error;
    if (this.#sender.finishing) throw closedError('this end has finished sending');
    const end = this.#decoder.end;
    // A peer that breaks the limit may believe anything; one that cut its stream may still read.
    if (end?.reason === 'too_large' && end.error !== null) throw end.error;
    await this.#sender.send(payload, signal);
  }

  /**
   * Whether it is a message, which `write` would not refuse.
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
   * Sends the close frame and goes on reading. The stream itself ends with `close`: on a socket that is
   * shut down, the kernel no longer tells a reset from an end.
   */
  finish() {
    return this.#sender.finish();
  }

  /** @returns {Promise<void>} */
  close() {
    this.#closing ??= this.#close();
    this.#updateReference();
    return this.#closing;
  }

  async #close() {
    this.#inbox.discard(LOCAL);
    // From here on input is thrown away, but it is read: a peer that is stuck in a write of its own
    // would never come to read our last messages.
    this.#resume();
    const linger = startTimer(this.#linger);
    this.#lingering = linger;
    const watching = this.#watchOutput(linger);
    await Promise.race([this.#sender.finish().catch(() => {}), linger.over]);
    if (this.#connection.awaitsPeer) {
      this.#connection.shutdown();
      await this.#waitForPeer(linger.over);
    }
    this.#lingering = null;
    clearInterval(watching);
    linger.cancel();
    this.#sender.fail(closedError());
    await this.#connection.destroy();
    this.#closed = true;
  }

  /**
   * Lets the linger begin anew whenever the kernel has taken output.
   *
   * @param {Timer} linger
   */
  #watchOutput(linger) {
    let before = this.#connection.unsent;
    return setInterval(() => {
      const { unsent } = this.#connection;
      if (unsent !== before) linger.restart();
      before = unsent;
    }, LOOK);
  }

  /** @param {Promise<void>} lingerOver */
  async #waitForPeer(lingerOver) {
    this.#waiting = true;
    this.#startQuiet();
    await Promise.race([this.#peerEnded, this.#peerQuiet, lingerOver]);
    this.#quiet?.cancel();
    this.#quiet = null;
  }

  /** Begins to wait for silence, anew each time, once the peer has sent its close frame. */
  #startQuiet() {
    if (this.#decoder.end?.reason !== 'clean') return;
    this.#quiet?.cancel();
    const quiet = startTimer(QUIET);
    this.#quiet = quiet;
    void quiet.over.then(() => this.#onQuiet(quiet));
  }

  /**
   * Silence is reason to leave only if the peer has taken all output (SES-63).
   *
   * @param {Timer} quiet
   */
  async #onQuiet(quiet) {
    const isTaken = await this.#connection.isTaken();
    if (this.#quiet !== quiet) return; // the peer has spoken meanwhile, or this is over
    if (isTaken) this.#resolvePeerQuiet();
    else this.#startQuiet();
  }

  /** @param {Buffer} chunk */
  #takeBytes(chunk) {
    if (this.#closing !== null) {
      // Still decoded, to see the close frame; not kept.
      this.#decoder.push(chunk, () => {});
      if (this.#waiting) this.#startQuiet();
      return true;
    }
    this.#decoder.push(chunk, (message) => this.#inbox.push(message));
    const end = this.#decoder.end;
    if (end !== null) this.#inbox.finish(end);
    if (end?.reason === 'too_large' && end.error !== null) this.#sender.refuse(end.error);
    this.#paused = end !== null || this.#inbox.full;
    return !this.#paused;
  }

  #streamEnded() {
    this.#resolvePeerEnded();
    this.#inbox.finish(this.#resetSeen ?? this.#decoder.finish());
  }

  /** @param {Error} error */
  #readFailed(error) {
    this.#resolvePeerEnded();
    const end = this.#resetSeen ?? reset(error, this.#sender);
    this.#inbox.finish(end);
    if (systemCode(error) !== 'ECONNRESET') return; // of reading alone
    this.#resetSeen = end;
    this.#sender.fail(/** @type {Error} */ (end.error));
  }

  /**
   * Messages that have arrived are still delivered: only the writing is over.
   *
   * @param {Error} error
   * @returns {Error}
   */
  #writeFailed(error) {
    if (systemCode(error) !== 'ECONNRESET') {
      return peerGone(error, this.#sender);
    }
    this.#resetSeen ??= reset(error, this.#sender);
    return /** @type {Error} */ (this.#resetSeen.error);
  }

  #inboxChanged() {
    if (this.#paused && this.#inbox.hasRoom && this.#decoder.end === null) this.#resume();
    this.#updateReference();
  }

  #resume() {
    this.#paused = false;
    this.#connection.resume();
  }

  /**
   * The process stays alive for a read that waits, for bytes on their way out and for a close, but
   * not for a channel that is merely open.
   */
  #updateReference() {
    if (this.#wantsReference) this.#setReferenced(true);
    else if (this.#referenced && !this.#letGoSoon) {
      // Not at once: in a loop over messages the next read comes in this very turn.
      this.#letGoSoon = true;
      setImmediate(() => {
        this.#letGoSoon = false;
        this.#setReferenced(this.#wantsReference);
      });
    }
  }

  get #wantsReference() {
    if (this.#closed) return false;
    return this.#inbox.readers > 0 || this.#sender.busy || this.#closing !== null;
  }

  /** @param {boolean} wanted */
  #setReferenced(wanted) {
    if (wanted === this.#referenced) return;
    this.#referenced = wanted;
    this.#connection.setReferenced(wanted);
  }
}

function closedError(text = 'the channel was closed at this end: connect again for a new session') {
  return new IPCChannelError('closed', text);
}
