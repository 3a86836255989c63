import { startTimer } from './timer.js';

/**
 * @typedef {import('./stream.js').Stream} Stream
 * @typedef {import('./timer.js').Timer} Timer
 * @typedef {import('./transports.js').Transport} Transport
 */

// How long close waits, after the peer's close frame and its last byte, for the peer to end its stream.
// In milliseconds.
const QUIET = 50;
// How often close looks whether the kernel has taken more output: a batch may take longer than the linger.
// In milliseconds.
const LOOK = 20;

/**
 * What a close waits for: until the output is sent and, over some transports, the input is drained, or
 * until the linger is over.
 */
export class Closing {
  #drains;
  #stream;
  #linger;
  #peerHasClosed;
  /** @type {Timer | null} the linger of a close that waits; restarts whenever the kernel takes output */
  #lingering = null;
  /** @type {Timer | null} the silence that close waits for */
  #quiet = null;
  /** @type {(() => void) | null} set while close drains the input */
  #resolveQuiet = null;
  /** @type {() => void} */
  #resolveInputEnded = () => {};
  /** @type {Promise<void>} */
  #inputEnded = new Promise((resolve) => {
    this.#resolveInputEnded = resolve;
  });

  /**
   * @param {Pick<Transport, 'drainsBeforeClose'>} transport
   * @param {Stream} stream
   * @param {number} linger in milliseconds
   * @param {() => boolean} peerHasClosed whether the peer's close frame has come
   */
  constructor(transport, stream, linger, peerHasClosed) {
    this.#drains = transport.drainsBeforeClose;
    this.#stream = stream;
    this.#linger = linger;
    this.#peerHasClosed = peerHasClosed;
  }

  /** The kernel has taken output. */
  onOutput() {
    this.#lingering?.restart();
  }

  /** Input has come and was dropped. The silence counts from here, but only after the peer's close frame. */
  onInput() {
    if (this.#resolveQuiet === null || !this.#peerHasClosed()) return;
    this.#quiet?.cancel();
    const quiet = startTimer(QUIET);
    this.#quiet = quiet;
    void quiet.over.then(() => this.#onQuiet(quiet));
  }

  /**
   * Silence ends the drain only if the peer's kernel has acknowledged all output (SES-63).
   *
   * @param {Timer} quiet
   */
  async #onQuiet(quiet) {
    const isAcknowledged = await this.#stream.isAcknowledged();
    if (this.#quiet !== quiet) return; // the peer has spoken meanwhile, or the drain is over
    if (isAcknowledged) this.#resolveQuiet?.();
    else this.onInput();
  }

  /** The peer will send nothing more. This may come long before the close. */
  onInputEnd() {
    this.#resolveInputEnded();
  }

  /**
   * @param {Promise<void>} sent settles when the kernel has all output, or can be given no more
   * @returns {Promise<'all-sent' | 'linger-over'>}
   */
  async wait(sent) {
    const linger = startTimer(this.#linger);
    const watching = this.#watchOutput(linger);
    this.#lingering = linger;
    await Promise.race([sent.catch(() => {}), linger.over]);
    if (this.#drains) await this.#drain(linger);
    this.#lingering = null;
    clearInterval(watching);
    linger.cancel();
    return linger.isOver ? 'linger-over' : 'all-sent';
  }

  /**
   * Restarts the linger whenever the kernel has taken output.
   *
   * @param {Timer} linger
   */
  #watchOutput(linger) {
    let before = this.#stream.unsent;
    return setInterval(() => {
      const { unsent } = this.#stream;
      if (unsent !== before) linger.restart();
      before = unsent;
    }, LOOK);
  }

  /**
   * Waits until the peer ends its direction or is silent, or the linger is over.
   *
   * @param {Timer} linger
   */
  async #drain(linger) {
    this.#stream.shutdown();
    /** @type {Promise<void>} */
    const quiet = new Promise((resolve) => {
      this.#resolveQuiet = resolve;
    });
    this.onInput();
    await Promise.race([this.#inputEnded, quiet, linger.over]);
    this.#resolveQuiet = null;
    this.#quiet?.cancel();
    this.#quiet = null;
  }
}
