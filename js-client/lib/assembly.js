// A header may promise 4 GiB and be followed by nothing, so it alone makes us take no more than this.
const FIRST_SIZE = 1024 * 1024;

/**
 * Puts together a payload that arrives in several chunks.
 *
 * Up to 1 MiB the payload gets its own buffer at once. A larger one gets it when the first MiB has
 * arrived, which is then copied: so a message takes its size once, and 1 MiB for a moment. The kernel
 * gives memory to a large buffer as it is filled; until then it is address space.
 */
export class Assembly {
  #buffer;
  #seen = 0;

  /** @param {number} length */
  constructor(length) {
    this.length = length;
    this.#buffer = Buffer.allocUnsafeSlow(Math.min(length, FIRST_SIZE));
  }

  get seen() {
    return this.#seen;
  }

  get complete() {
    return this.#seen === this.length;
  }

  /** The size of the buffer. */
  get allocated() {
    return this.#buffer.length;
  }

  /**
   * Copies what belongs to this payload out of the chunk.
   *
   * @param {Buffer} chunk
   * @param {number} offset
   * @returns {number} the offset of the first byte that does not
   */
  take(chunk, offset) {
    while (offset < chunk.length && !this.complete) {
      if (this.#seen === this.#buffer.length) this.#grow();
      const count = chunk.copy(this.#buffer, this.#seen, offset);
      offset += count;
      this.#seen += count;
    }
    return offset;
  }

  /**
   * The payload, once it is complete.
   *
   * @returns {Buffer}
   */
  get payload() {
    return this.#buffer;
  }

  #grow() {
    const whole = Buffer.allocUnsafeSlow(this.length);
    this.#buffer.copy(whole);
    this.#buffer = whole;
  }
}
