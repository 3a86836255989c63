import { Assembly } from './assembly.js';
import { CLEAN, doesNotFit, EOF, tooLarge, truncated } from './end.js';
import { HEADER_SIZE } from './frame.js';

/** @typedef {import('./end.js').InputEnd} InputEnd */

/**
 * Makes messages out of the bytes of one direction, in whatever chunks they arrive. No I/O.
 *
 * Each message is copied out of the chunk, once, into memory of its own. So the caller can read into the
 * same buffer again and again, a message that the application keeps does not hold the whole chunk, and an
 * application that transfers a message to a worker takes no other message with it.
 */
export class Decoder {
  #limit;
  #headerSeen = 0;
  /** The header's value as far as it has arrived. */
  #length = 0;
  /** @type {Assembly | null} the payload that has begun to arrive */
  #assembly = null;
  /** @type {InputEnd | null} */
  #end = null;

  /** @param {number} maxMessageSize */
  constructor(maxMessageSize) {
    this.#limit = maxMessageSize;
  }

  /** The end that the bytes themselves gave: a close frame or a header over the limit. */
  get end() {
    return this.#end;
  }

  /** Bytes allocated for a message that has not arrived whole. */
  get allocated() {
    return this.#assembly?.allocated ?? 0;
  }

  /**
   * Takes bytes and hands over each message that they complete. Does not keep `chunk`.
   *
   * @param {Buffer} chunk
   * @param {(message: Buffer) => void} deliver
   */
  push(chunk, deliver) {
    let offset = 0;
    while (offset < chunk.length && this.#end === null) {
      offset =
        this.#headerSeen < HEADER_SIZE
          ? this.#takeHeader(chunk, offset)
          : this.#takePayload(chunk, offset, deliver);
    }
  }

  /**
   * The end, if the stream ends here.
   *
   * @returns {InputEnd}
   */
  endStream() {
    this.#end ??= this.#endHere();
    this.#assembly = null;
    return this.#end;
  }

  /** @returns {InputEnd} */
  #endHere() {
    if (this.#headerSeen === 0) return EOF;
    if (this.#headerSeen < HEADER_SIZE) return truncated(this.#headerSeen, HEADER_SIZE, 'header');
    return truncated(this.#assembly?.seen ?? 0, this.#length, 'payload');
  }

  /**
   * @param {Buffer} chunk
   * @param {number} offset
   */
  #takeHeader(chunk, offset) {
    while (offset < chunk.length && this.#headerSeen < HEADER_SIZE) {
      // Multiplied, not shifted: a shift would make lengths from 2^31 up negative.
      this.#length = this.#length * 256 + chunk[offset];
      this.#headerSeen += 1;
      offset += 1;
    }
    if (this.#headerSeen === HEADER_SIZE) this.#checkLength();
    return offset;
  }

  #checkLength() {
    if (this.#length === 0) this.#end = CLEAN;
    else if (this.#length > this.#limit) this.#end = tooLarge(this.#length, this.#limit);
  }

  /**
   * @param {Buffer} chunk
   * @param {number} offset
   * @param {(message: Buffer) => void} deliver
   */
  #takePayload(chunk, offset, deliver) {
    const [next, message] = this.#assemble(chunk, offset);
    if (message !== null) this.#deliver(message, deliver);
    return next;
  }

  /**
   * @param {Buffer} chunk
   * @param {number} offset
   * @returns {[number, Buffer | null]}
   */
  #assemble(chunk, offset) {
    try {
      this.#assembly ??= new Assembly(this.#length);
      const next = this.#assembly.take(chunk, offset);
      return [next, this.#assembly.complete ? this.#assembly.payload : null];
    } catch (error) {
      // Only an allocation can fail here, and only if maxMessageSize is larger than the memory.
      this.#assembly = null;
      this.#end = doesNotFit(this.#length, error);
      return [chunk.length, null];
    }
  }

  /**
   * @param {Buffer} message
   * @param {(message: Buffer) => void} deliver
   */
  #deliver(message, deliver) {
    this.#assembly = null;
    this.#headerSeen = 0;
    this.#length = 0;
    deliver(message);
  }
}
