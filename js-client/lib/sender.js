import { onAbort } from './abort.js';
import { closed } from './end.js';
import { HEADER_SIZE, lostMemory } from './frame.js';
import { OutgoingFrame } from './outgoing-frame.js';
import { Queue } from './queue.js';

/**
 * @typedef {import('./queue.js').Node<OutgoingFrame>} Node
 * @typedef {import('./session-state.js').SessionState} SessionState
 *
 * @typedef {object} Handler
 * @property {(bytes: Buffer, done: () => void) => void} write calls back once the kernel has the bytes;
 *   after a failed write, `followState` is called instead
 * @property {() => void} changed the sender became busy or idle
 * @property {(error: import('./errors.js').IPCChannelError) => void} aborted the kernel has a part of
 *   a frame whose rest is lost
 */

// How many bytes go to the kernel in one system call: the default capacity of a pipe. Small frames are
// batched into one call, which makes many small writes cheap.
const BATCH_SIZE = 64 * 1024;
const NOTHING = new Uint8Array(0);

/**
 * Sends frames in the order of the calls, one system call at a time, for as long as the state allows.
 *
 * Everything is copied into one buffer on its way to the kernel. So header and payload go out
 * together, small frames share a system call, and a caller that aborts a write gets the memory back
 * at once although the frame still has to go out whole.
 */
export class Sender {
  #state;
  #handler;
  /** @type {Queue<OutgoingFrame>} */
  #waiting = new Queue();
  /** @type {OutgoingFrame[]} the frames of which the last byte is in the batch */
  #inBatch = [];
  /** @type {Buffer | null} */
  #batch = null;
  /** whether the kernel has yet to take the batch */
  #busy = false;
  /** @type {Promise<void> | null} */
  #closeFrame = null;
  /** The length of the last message that may have been too long for the peer. */
  #lastLarge = 0;

  /**
   * @param {SessionState} state
   * @param {Handler} handler
   */
  constructor(state, handler) {
    this.#state = state;
    this.#handler = handler;
  }

  get busy() {
    return this.#busy;
  }

  /** How many frames the kernel does not have yet. */
  get unsent() {
    return this.#inBatch.length + this.#waiting.size;
  }

  /** The length of the message that the kernel has in part; 0 if there is none. */
  get lengthUnderWay() {
    const frames = [...this.#inBatch, this.#waiting.peek()].filter((frame) => frame !== undefined);
    return frames.findLast((frame) => frame.begun && isLarge(frame))?.length ?? 0;
  }

  /** The length of the last large message that has begun to go out; 0 if there was none. */
  get lastLarge() {
    return this.#lastLarge;
  }

  /**
   * Resolves when the kernel has the whole frame.
   *
   * An abort before the kernel was given any of it takes the frame back. A later abort only ends the wait,
   * and the frame goes out whole.
   *
   * @param {Uint8Array} payload
   * @param {AbortSignal} [signal]
   * @returns {Promise<void>}
   */
  send(payload, signal) {
    const refusal = this.#refusal;
    return refusal === null ? this.#enqueue(payload, signal) : Promise.reject(refusal);
  }

  /**
   * Sends a message like `send`, without the cost of a promise.
   *
   * @param {Uint8Array} payload
   * @param {(error?: Error) => void} settled called once; before `post` returns if the state refuses the message
   */
  post(payload, settled) {
    const refusal = this.#refusal;
    if (refusal !== null) {
      settled(refusal);
      return;
    }
    const frame = new OutgoingFrame(payload);
    frame.resolve = settled;
    frame.reject = settled;
    this.#waiting.push(frame);
    this.#pump();
  }

  /** What a message is refused with; null if it may be sent. */
  get #refusal() {
    if (this.#state.refusal !== null || this.#closeFrame === null) return this.#state.refusal;
    return closed('this end has sent its close frame: connect again for a new session');
  }

  /**
   * Sends the close frame after all that was written, once. Rejects if it cannot be sent any more.
   *
   * @returns {Promise<void>}
   */
  sendCloseFrame() {
    this.#closeFrame ??= this.#state.sends
      ? this.#enqueue(NOTHING)
      : Promise.reject(this.#state.refusal);
    return this.#closeFrame;
  }

  /** Rejects the writes that wait if the state, which has changed, says so. */
  followState() {
    if (!this.#state.sends) this.drop();
    else if (this.#state.phase === 'refused') this.#refuse(this.#state.refusal);
  }

  /** Rejects every write that waits, and sends nothing more. */
  drop() {
    const { refusal } = this.#state;
    for (const frame of this.#takeAll()) frame.settle(refusal);
    this.#busy = false;
    this.#handler.changed();
  }

  /**
   * Rejects every write that waits. A frame that has begun is still completed, and the close frame
   * still follows (SES-37).
   *
   * @param {Error | null} error
   */
  #refuse(error) {
    for (const frame of this.#takeAll()) {
      if (frame.isClose) {
        (frame.complete ? this.#inBatch : this.#waiting).push(frame);
        continue;
      }
      frame.settle(error);
      if (!frame.begun || frame.complete) continue;
      frame.detach();
      this.#waiting.push(frame);
    }
  }

  #takeAll() {
    const frames = this.#inBatch;
    this.#inBatch = [];
    for (let frame = this.#waiting.shift(); frame; frame = this.#waiting.shift()) {
      frames.push(frame);
    }
    return frames;
  }

  /**
   * @param {Uint8Array} payload
   * @param {AbortSignal} [signal]
   * @returns {Promise<void>}
   */
  #enqueue(payload, signal) {
    return new Promise((resolve, reject) => {
      const frame = new OutgoingFrame(payload);
      frame.resolve = resolve;
      frame.reject = reject;
      // First, because a signal that the caller implements may throw, and must leave no frame behind.
      frame.release = onAbort(signal, (error) => this.#abandon(node, error));
      const node = this.#waiting.push(frame);
      this.#pump();
    });
  }

  /**
   * @param {Node} node
   * @param {Error} error
   */
  #abandon(node, error) {
    const frame = node.value;
    frame.reject(error);
    if (frame.begun) frame.detach();
    else this.#waiting.delete(node);
  }

  #pump() {
    if (this.#busy || this.#waiting.size === 0) return;
    this.#busy = true;
    this.#handler.changed();
    const batch = this.#fill();
    if (batch.length > 0) this.#handler.write(batch, () => this.#written());
    else this.#written();
  }

  /** Fills the batch with as many frames, or parts of one, as fit. */
  #fill() {
    this.#batch ??= Buffer.allocUnsafeSlow(BATCH_SIZE);
    let used = 0;
    for (let frame = this.#waiting.peek(); frame; frame = this.#waiting.peek()) {
      // A header is never split: a simple peer may read it in one piece.
      if (used + HEADER_SIZE > BATCH_SIZE) break;
      const end = frame.copyTo(this.#batch, used);
      if (end === null) {
        this.#lose(frame);
        continue;
      }
      used = end;
      if (isLarge(frame)) this.#lastLarge = frame.length;
      if (!frame.complete) break;
      this.#inBatch.push(frame);
      this.#waiting.shift();
    }
    return this.#batch.subarray(0, used);
  }

  /**
   * Gives up the first waiting frame, because its memory is gone. If the kernel has a part of it, nothing
   * can follow.
   *
   * @param {OutgoingFrame} frame
   */
  #lose(frame) {
    this.#waiting.shift();
    const cause = lostMemory();
    if (!frame.begun) {
      frame.settle(cause);
      return;
    }
    const text =
      'a message was sent only in part, because its memory was transferred or shrunk; connect again';
    const error = closed(text, cause);
    frame.settle(error);
    this.#handler.aborted(error);
  }

  #written() {
    const frames = this.#inBatch;
    this.#inBatch = [];
    this.#busy = false;
    for (const frame of frames) frame.settle(null);
    this.#pump();
    if (!this.#busy) this.#handler.changed();
  }
}

/**
 * Whether it takes more than one system call, so that the kernel may have it in part.
 *
 * @param {OutgoingFrame} frame
 */
function isLarge(frame) {
  return HEADER_SIZE + frame.length > BATCH_SIZE;
}
