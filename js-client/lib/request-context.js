/**
 * Aborts the signal of a context. Not for users.
 *
 * @type {(context: HandlerContext, reason: unknown) => void}
 */
export let abort;

/**
 * What a handler gets besides the payload. The signal costs more than a small request, so it is made only
 * for a handler that looks at it.
 */
export class HandlerContext {
  static {
    abort = (context, reason) => context.#abort(reason);
  }

  /** @type {AbortController | null} */
  #controller = null;
  /** @type {{reason: unknown} | null} */
  #aborted = null;

  /** Aborts when the request is cancelled, and when the session ends. */
  get signal() {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#aborted !== null) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  /** @param {unknown} reason */
  #abort(reason) {
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}
