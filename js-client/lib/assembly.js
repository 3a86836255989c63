// A header may promise 4 GiB and be followed by nothing, so memory is taken only as payload
// arrives: never more than what has arrived and this much.
const PIECE_SIZE = 1024 * 1024;

/**
 * Puts together a payload that arrives in several chunks.
 *
 * Up to 1 MiB the payload gets its own buffer at once. A larger one is collected in pieces of 1 MiB
 * and copied into one buffer of its size when the last byte is there: one copy in all, where a buffer
 * that grows by doubling would copy as much, allocate more, and be ahead of the bytes by half of it.
 */
export class Assembly {
  /** @type {Buffer[]} */
  #pieces = [];
  #seen = 0;
  /** Free bytes at the end of the last piece. */
  #room = 0;

  /** @param {number} length */
  constructor(length) {
    this.length = length;
    this.#grow();
  }

  get seen() {
    return this.#seen;
  }

  get complete() {
    return this.#seen === this.length;
  }

  /** Bytes of memory taken so far. */
  get allocated() {
    return this.#seen + this.#room;
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
      if (this.#room === 0) this.#grow();
      const piece = this.#pieces[this.#pieces.length - 1];
      const count = Math.min(this.#room, chunk.length - offset);
      chunk.copy(piece, piece.length - this.#room, offset, offset + count);
      offset += count;
      this.#seen += count;
      this.#room -= count;
    }
    return offset;
  }

  /**
   * The payload. Ends the use of this object.
   *
   * @returns {Buffer}
   */
  join() {
    const pieces = this.#pieces;
    this.#pieces = [];
    if (pieces.length === 1) return pieces[0];
    return Buffer.concat(pieces, this.length);
  }

  #grow() {
    this.#room = Math.min(PIECE_SIZE, this.length - this.#seen);
    this.#pieces.push(Buffer.allocUnsafeSlow(this.#room));
  }
}
