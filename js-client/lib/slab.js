import { markAsUntransferable } from 'node:worker_threads';

// Large enough that an allocation is rare, small enough that a message which the application keeps for
// long holds little else. Node's own pool would do, but holds 64 KiB from Node 24 on.
const SLAB_SIZE = 8 * 1024;
const LARGEST_SHARE = SLAB_SIZE / 4;
// So that a typed array of any kind can be laid over a message.
const ALIGNMENT = 8;

/** Copies bytes: small ones side by side into a common piece of memory, others into their own. */
export class Slab {
  #memory = Buffer.alloc(0);
  #used = 0;

  /**
   * @param {Buffer} source
   * @param {number} start
   * @param {number} stop
   * @returns {Buffer}
   */
  copy(source, start, stop) {
    const target = this.#allocate(stop - start);
    source.copy(target, 0, start, stop);
    return target;
  }

  /** @param {number} size */
  #allocate(size) {
    if (size > LARGEST_SHARE) return Buffer.allocUnsafeSlow(size);
    if (this.#used + size > this.#memory.length) {
      this.#memory = Buffer.allocUnsafeSlow(SLAB_SIZE);
      // Whoever transfers one message to a worker would take its neighbours away, too.
      markAsUntransferable(this.#memory.buffer);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used = Math.ceil((start + size) / ALIGNMENT) * ALIGNMENT;
    return this.#memory.subarray(start, start + size);
  }
}
