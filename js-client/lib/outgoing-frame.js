import { HEADER_SIZE } from './frame.js';

const NOTHING = new Uint8Array(0);

/** A frame on its way to the kernel: the part that is not copied yet, and the write that waits for it. */
export class OutgoingFrame {
  /** whether the header was copied */
  begun = false;
  length;
  #left;
  #uncopied;
  /** @type {(() => void)} */
  resolve = () => {};
  /** @type {((error: Error) => void)} */
  reject = () => {};
  /** takes the abort listener off the signal of the write */
  release = () => {};

  /** @param {Uint8Array} payload empty for the close frame */
  constructor(payload) {
    this.length = payload.length;
    this.#left = payload.length;
    this.#uncopied = payload;
  }

  get complete() {
    return this.begun && this.#left === 0;
  }

  get isClose() {
    return this.length === 0;
  }

  /**
   * Copies as much as there is room for.
   *
   * @param {Buffer} target
   * @param {number} offset
   * @returns {number | null} the offset behind what was copied; null if the memory is no longer there
   */
  copyTo(target, offset) {
    const start = this.begun ? offset : offset + HEADER_SIZE;
    const part = this.#next(Math.min(this.#left, target.length - start));
    if (part === null) return null;
    if (!this.begun) target.writeUInt32BE(this.length, offset);
    this.begun = true;
    target.set(part, start);
    this.#uncopied = this.#uncopied.subarray(part.length);
    this.#left -= part.length;
    return start + part.length;
  }

  /**
   * Null if the caller has transferred the memory to a worker, or has shrunk it.
   *
   * @param {number} count
   * @returns {Uint8Array | null}
   */
  #next(count) {
    try {
      const part = this.#uncopied.subarray(0, count);
      return part.length === count ? part : null;
    } catch {
      return null;
    }
  }

  /**
   * Copies the rest of the payload, so that the caller may use its memory again. If no memory is left for
   * the copy, the rest is lost.
   */
  detach() {
    try {
      this.#uncopied = new Uint8Array(this.#uncopied);
    } catch {
      this.#uncopied = NOTHING;
    }
  }

  /** @param {Error | null} error */
  settle(error) {
    this.release();
    if (error === null) this.resolve();
    else this.reject(error);
  }
}
