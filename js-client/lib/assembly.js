// A header may announce 4 GiB that never come, so a header alone makes us allocate no more than this.
const FIRST_SIZE = 1024 * 1024;

/**
 * Puts together a payload that arrives in several chunks.
 *
 * A payload of up to 1 MiB gets its own buffer at once. A larger payload gets it when its first MiB has
 * arrived, which is then copied. So a message takes memory of its size, and 1 MiB more for a moment. The
 * kernel gives memory to a large buffer only as it is filled; until then it is address space.
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
