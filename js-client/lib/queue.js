/**
 * @template T
 * @typedef {{value: T, previous: Node<T> | null, next: Node<T> | null, queued: boolean}} Node
 */

/**
 * A queue that can also lose an entry in its middle, because a cancelled call must leave nothing behind.
 * A long array is slow to shift and to search, and a long Set is slow to shift.
 *
 * @template T
 */
export class Queue {
  /** @type {Node<T> | null} */
  #first = null;
  /** @type {Node<T> | null} */
  #last = null;
  #size = 0;

  get size() {
    return this.#size;
  }

  /**
   * @param {T} value
   * @returns {Node<T>} the argument of `delete`
   */
  push(value) {
    /** @type {Node<T>} */
    const node = { value, previous: this.#last, next: null, queued: true };
    if (this.#last === null) this.#first = node;
    else this.#last.next = node;
    this.#last = node;
    this.#size += 1;
    return node;
  }

  /** @returns {T | undefined} */
  peek() {
    return this.#first?.value;
  }

  /** @returns {T | undefined} */
  shift() {
    const node = this.#first;
    if (node === null) return undefined;
    this.delete(node);
    return node.value;
  }

  /**
   * @param {Node<T>} node
   * @returns {boolean} whether it was still there
   */
  delete(node) {
    if (!node.queued) return false;
    node.queued = false;
    if (node.previous === null) this.#first = node.next;
    else node.previous.next = node.next;
    if (node.next === null) this.#last = node.previous;
    else node.next.previous = node.previous;
    this.#size -= 1;
    return true;
  }

  clear() {
    while (this.shift() !== undefined);
  }
}
