/**
 * @template T
 * @typedef {{value: T, previous: Node<T> | null, next: Node<T> | null, queued: boolean}} Node
 */

/**
 * A queue from whose middle an entry can be taken: a cancelled call must leave nothing behind, and
 * an array or a Set is slow at one end or in the middle once it is long.
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
   * @returns {Node<T>} what `delete` wants
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
