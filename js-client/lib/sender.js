import { onAbort } from './abort.js';
import { IPCChannelError } from './errors.js';
import { HEADER_SIZE, lostMemory } from './frame.js';
import { Queue } from './queue.js';

/**
 * @typedef {import('./queue.js').Node<Frame>} Node
 * @typedef {(bytes: Buffer, done: (error: Error | null) => void) => void} Write
 */

// What goes to the kernel in one system call: a default pipe's capacity. More frames than one if
// they fit, which is what makes many small writes cheap.
const BATCH_SIZE = 64 * 1024;
const NOTHING = new Uint8Array(0);

/** A frame on its way out: what of it was not copied yet, and who waits for it. */
class Frame {
  started = false;
  length;
  #left;
  #rest;
  /** @type {(() => void)} */
  resolve = () => {};
  /** @type {((error: Error) => void)} */
  reject = () => {};
  release = () => {};

  /** @param {Uint8Array} payload empty for the close frame */
  constructor(payload) {
    this.length = payload.length;
    this.#left = payload.length;
    this.#rest = payload;
  }

  get complete() {
    return this.started && this.#left === 0;
  }

  /** Whether it takes more than one system call, and so may be out in part. */
  get isLarge() {
    return HEADER_SIZE + this.length > BATCH_SIZE;
  }

  get isClose() {
    return this.length === 0;
  }

  /**
   * Copies as much of the rest as there is room for.
   *
   * @param {Buffer} target
   * @param {number} offset
   * @returns {number | null} the offset behind what was copied; null if the memory is no longer there
   */
  copyTo(target, offset) {
    const start = this.started ? offset : offset + HEADER_SIZE;
    const part = this.#next(Math.min(this.#left, target.length - start));
    if (part === null) return null;
    if (!this.started) target.writeUInt32BE(this.length, offset);
    this.started = true;
    target.set(part, start);
    this.#rest = this.#rest.subarray(part.length);
    this.#left -= part.length;
    return start + part.length;
  }

  /**
   * Memory may be transferred to a worker, or be made smaller.
   *
   * @param {number} count
   * @returns {Uint8Array | null}
   */
  #next(count) {
    try {
      const part = this.#rest.subarray(0, count);
      return part.length === count ? part : null;
    } catch {
      return null;
    }
  }

  /** Makes the rest of the payload independent of the caller's memory; loses it if there is no other. */
  detach() {
    try {
      this.#rest = new Uint8Array(this.#rest);
    } catch {
      this.#rest = NOTHING;
    }
  }
}

/**
 * Sends frames in the order of the calls, one system call at a time.
 *
 * Everything is copied into one buffer on its way to the kernel. So header and payload go out
 * together, small frames share a system call, and whoever gives up on a write gets the memory back
 * at once although the frame still has to go out whole.
 */
export class Sender {
  #write;
  #changed;
  #torn;
  /** @type {Queue<Frame>} */
  #waiting = new Queue();
  /** @type {Frame[]} those whose last byte is in the batch */
  #inBatch = [];
  /** @type {Buffer | null} */
  #batch = null;
  #busy = false;
  /** @type {Error | null} why nothing can be sent any more */
  #error = null;
  /** @type {Promise<void> | null} */
  #finished = null;
  /** The length of the last message that can be longer than the peer's limit. */
  #lastLarge = 0;

  /**
   * @param {Write} write
   * @param {() => void} changed called when the sender becomes busy or idle
   * @param {() => void} torn called when a frame that has begun cannot be completed
   */
  constructor(write, changed, torn) {
    this.#write = write;
    this.#changed = changed;
    this.#torn = torn;
  }

  get busy() {
    return this.#busy;
  }

  get error() {
    return this.#error;
  }

  /** How many frames the kernel does not have yet. */
  get unsent() {
    return this.#inBatch.length + this.#waiting.size;
  }

  /** The length of the message that is out in part; 0 if there is none. */
  get lengthUnderWay() {
    const begun = [...this.#inBatch, this.#waiting.peek()].filter((frame) => frame?.started);
    return begun.findLast((frame) => frame?.isLarge)?.length ?? 0;
  }

  /** The length of the last large message that has begun to go out; 0 if there was none. */
  get lastLarge() {
    return this.#lastLarge;
  }

  /** Whether the close frame was sent or queued. */
  get finishing() {
    return this.#finished !== null;
  }

  /**
   * Resolves when the kernel has the whole frame.
   *
   * An abort before the kernel was given any of it takes the frame back; later it only ends the
   * waiting, and the frame goes out whole.
   *
   * @param {Uint8Array} payload
   * @param {AbortSignal} [signal]
   * @returns {Promise<void>}
   */
  send(payload, signal) {
    if (this.#error !== null) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      const frame = new Frame(payload);
      frame.resolve = resolve;
      frame.reject = reject;
      // First, as a signal of somebody else's making may throw: no frame may be left behind then.
      frame.release = onAbort(signal, (error) => this.#abandon(node, error));
      const node = this.#waiting.push(frame);
      this.#pump();
    });
  }

  /**
   * Sends the close frame after all that was written, once.
   *
   * @returns {Promise<void>}
   */
  finish() {
    this.#finished ??= this.send(NOTHING);
    return this.#finished;
  }

  /**
   * Gives every write that waits this error. A frame that has begun is still completed, and the close
   * frame still follows.
   *
   * @param {Error} error
   */
  refuse(error) {
    const frames = [...this.#inBatch];
    for (let frame = this.#waiting.shift(); frame; frame = this.#waiting.shift())
      frames.push(frame);
    this.#inBatch = this.#inBatch.filter((frame) => frame.isClose);
    for (const frame of frames) {
      if (!frame.isClose) settle(frame, error);
      if (frame.complete) continue;
      if (frame.isClose) this.#waiting.push(frame);
      else if (frame.started) {
        frame.detach();
        this.#waiting.push(frame);
      }
    }
  }

  /**
   * Gives up: every write that waits, and every later one, gets this error.
   *
   * @param {Error} error
   */
  fail(error) {
    if (this.#error !== null) return;
    this.#error = error;
    const frames = this.#inBatch;
    this.#inBatch = [];
    for (const frame of frames) settle(frame, error);
    for (let frame = this.#waiting.shift(); frame; frame = this.#waiting.shift()) {
      settle(frame, error);
    }
    this.#busy = false;
    this.#changed();
  }

  /**
   * @param {Node} node
   * @param {Error} error
   */
  #abandon(node, error) {
    const frame = node.value;
    frame.reject(error);
    if (frame.started) frame.detach();
    else this.#waiting.delete(node);
  }

  #pump() {
    if (this.#busy || this.#error !== null || this.#waiting.size === 0) return;
    this.#busy = true;
    this.#changed();
    const batch = this.#fill();
    if (batch.length > 0) this.#write(batch, (error) => this.#written(error));
    else if (this.#error === null) this.#written(null);
  }

  /** Fills the batch with as many frames, or parts of one, as fit. */
  #fill() {
    this.#batch ??= Buffer.allocUnsafeSlow(BATCH_SIZE);
    let used = 0;
    for (let frame = this.#waiting.peek(); frame; frame = this.#waiting.peek()) {
      // A header is never cut: many a peer reads it in one piece.
      if (used + HEADER_SIZE > BATCH_SIZE) break;
      const end = frame.copyTo(this.#batch, used);
      if (end === null) {
        this.#drop(frame);
        continue;
      }
      used = end;
      if (frame.isLarge) this.#lastLarge = frame.length;
      if (!frame.complete) break;
      this.#inBatch.push(frame);
      this.#waiting.shift();
    }
    return this.#batch.subarray(0, used);
  }

  /**
   * Gives up the first frame that waits. If some of it is out, nothing can follow.
   *
   * @param {Frame} frame
   */
  #drop(frame) {
    this.#waiting.shift();
    const cause = lostMemory();
    if (!frame.started) {
      settle(frame, cause);
      return;
    }
    const text = 'the stream of messages was cut: the memory of one went while it was sent';
    const error = new IPCChannelError('closed', text, { cause });
    settle(frame, error);
    this.fail(error);
    this.#torn();
  }

  /** @param {Error | null} error */
  #written(error) {
    if (this.#error !== null) return;
    if (error !== null) {
      this.fail(error);
      return;
    }
    const frames = this.#inBatch;
    this.#inBatch = [];
    this.#busy = false;
    for (const frame of frames) settle(frame, null);
    this.#pump();
    if (!this.#busy) this.#changed();
  }
}

/**
 * @param {Frame} frame
 * @param {Error | null} error
 */
function settle(frame, error) {
  frame.release();
  if (error === null) frame.resolve();
  else frame.reject(error);
}
