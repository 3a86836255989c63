import { onAbort } from './abort.js';
import { isRequestCode, RequestError } from './errors.js';
import { bytesOf } from './frame.js';
import { Queue } from './queue.js';
import { abort, HandlerContext } from './request-context.js';
import { ANSWER, encode, encodeError, HEAD_SIZE } from './request-message.js';

/**
 * @typedef {import('./session.js').Session} Session
 * @typedef {import('./queue.js').Node<Request>} Node
 * @typedef {(payload: Buffer, context: HandlerContext) => unknown} Handler
 *
 * @typedef {object} Request one that is not answered yet
 * @property {number} id
 * @property {Buffer} payload
 * @property {HandlerContext} context
 * @property {boolean} cancelled
 * @property {Node | null} node its place in the queue, while it waits for its turn
 *
 * @typedef {object} Serving what `serve` was called with
 * @property {Handler} handler
 * @property {number} concurrency
 * @property {() => void} resolve
 * @property {(error: unknown) => void} reject
 */

// The session stops reading above twice the open requests that a caller may have, or above twice the default.
// Only a caller that breaks REQ-7 leaves so many answers unread.
const FEWEST_UNSENT = 2 * 1024;

const UNSERVED = 'the end that got this request does not serve: it only calls, or has stopped';

/** The requests of the other end, and the handlers that answer them. */
export class Callee {
  #session;
  #maxOpen;
  #maxUnsent;
  /** @type {Map<number, Request>} the requests that are not answered yet, by id */
  #unanswered = new Map();
  /** @type {Queue<Request>} the requests whose handler was not called yet */
  #waiting = new Queue();
  /** How many handlers run. */
  #running = 0;
  /** How many answers the kernel does not have yet. */
  #unsent = 0;
  /** @type {Serving | null} until `serve` settles */
  #serving = null;
  /** @type {{error: unknown} | null} what `serve` settles with when the last handler has ended */
  #outcome = null;
  #release = nothing;

  /**
   * @param {Pick<Session, 'post' | 'maxMessageSize' | 'consumerChanged'>} session
   * @param {number} maxOpen
   */
  constructor(session, maxOpen) {
    this.#session = session;
    this.#maxOpen = maxOpen;
    this.#maxUnsent = Math.max(2 * maxOpen, FEWEST_UNSENT);
  }

  /** Whether `serve` was called and has not settled. */
  get serves() {
    return this.#serving !== null;
  }

  get full() {
    return this.#unsent >= this.#maxUnsent;
  }

  /**
   * @param {Serving} serving
   * @param {AbortSignal | undefined} signal
   */
  serve(serving, signal) {
    this.#release = onAbort(signal, ({ cause }) => this.#abort(cause));
    this.#serving = serving;
  }

  /**
   * @param {number} id
   * @param {Buffer} message
   * @returns {boolean} whether the id is free
   */
  onRequest(id, message) {
    if (this.#unanswered.has(id)) return false;
    if (this.#serving === null || this.#outcome !== null) {
      this.#postError(id, 'unserved', UNSERVED);
    } else if (this.#unanswered.size >= this.#maxOpen) {
      this.#postError(id, 'busy', `${this.#maxOpen} requests are not answered yet`);
    } else {
      this.#add(this.#serving, id, message.subarray(HEAD_SIZE));
    }
    return true;
  }

  /**
   * @param {Serving} serving
   * @param {number} id
   * @param {Buffer} payload
   */
  #add(serving, id, payload) {
    /** @type {Request} */
    const request = { id, payload, context: new HandlerContext(), cancelled: false, node: null };
    this.#unanswered.set(id, request);
    if (this.#running < serving.concurrency) this.#handle(serving, request);
    else request.node = this.#waiting.push(request);
  }

  /** @param {number} id */
  onCancel(id) {
    const request = this.#unanswered.get(id);
    if (request === undefined || request.cancelled) return;
    const error = new RequestError('cancelled', 'the caller has cancelled the request');
    if (request.node !== null && this.#waiting.delete(request.node)) this.#fail(request, error);
    else this.#cancel(request, error);
  }

  /**
   * @param {Request} request one whose handler runs
   * @param {unknown} reason
   */
  #cancel(request, reason) {
    request.cancelled = true;
    abort(request.context, reason);
  }

  /**
   * Calls the handler. A handler that returns no promise is answered at once.
   *
   * @param {Serving} serving
   * @param {Request} request
   */
  #handle({ handler }, request) {
    this.#running += 1;
    request.node = null;
    try {
      const result = handler(request.payload, request.context);
      if (isThenable(result)) {
        void this.#await(request, result);
        return;
      }
      this.#answer(request, result);
    } catch (error) {
      this.#fail(request, error);
    }
    this.#handled();
  }

  /**
   * @param {Request} request
   * @param {PromiseLike<unknown>} result
   */
  async #await(request, result) {
    try {
      this.#answer(request, await result);
    } catch (error) {
      this.#fail(request, error);
    }
    this.#handled();
    this.#handleWaiting();
  }

  #handled() {
    this.#running -= 1;
    this.#settleServe();
  }

  /** In a loop, since a handler that returns no promise has ended when it returns. */
  #handleWaiting() {
    while (this.#serving !== null && this.#running < this.#serving.concurrency) {
      const request = this.#waiting.shift();
      if (request === undefined) return;
      this.#handle(this.#serving, request);
    }
  }

  /**
   * @param {Request} request
   * @param {unknown} result
   */
  #answer(request, result) {
    if (!this.#unanswered.has(request.id)) return; // the session has ended
    const bytes = bytesOf(result, 'an answer');
    const limit = this.#session.maxMessageSize - HEAD_SIZE;
    if (bytes.length > limit) {
      const text = `answer of ${bytes.length} bytes exceeds the limit of ${limit}: send it in parts`;
      throw new RequestError('too-large', text);
    }
    const message = encode(ANSWER, request.id, bytes);
    this.#unanswered.delete(request.id);
    this.#post(message);
  }

  /**
   * @param {Request} request
   * @param {unknown} error
   */
  #fail(request, error) {
    if (!this.#unanswered.delete(request.id)) return; // the session has ended
    const isChosen = error instanceof RequestError && isRequestCode(error.code);
    const code = request.cancelled ? 'cancelled' : 'failed';
    this.#postError(request.id, isChosen ? error.code : code, textOf(error));
  }

  /**
   * @param {number} id
   * @param {string} code
   * @param {string} text
   */
  #postError(id, code, text) {
    this.#post(encodeError(id, code, text, this.#session.maxMessageSize));
  }

  /** @param {Buffer} message */
  #post(message) {
    this.#unsent += 1;
    this.#session.post(message, this.#sent);
  }

  // A failed write is not reported here: the reader finds the end of the session, and its reason.
  #sent = () => {
    const wasFull = this.full;
    this.#unsent -= 1;
    if (wasFull) this.#session.consumerChanged();
  };

  /** Handles no further request. `serve` resolves when the handlers that run have ended. */
  stop() {
    this.#finish(null, () => {});
  }

  /** @param {unknown} reason */
  #abort(reason) {
    this.#finish({ error: reason }, (request) => this.#cancel(request, reason));
  }

  /**
   * @param {{error: unknown} | null} failure what `serve` rejects with
   * @param {(request: Request) => void} end what to do with a request whose handler runs
   */
  #finish(failure, end) {
    if (this.#serving === null) return;
    this.#outcome = failure ?? this.#outcome ?? { error: null };
    const error = new RequestError('unserved', UNSERVED);
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      this.#fail(next, error);
    }
    for (const request of [...this.#unanswered.values()]) end(request);
    this.#settleServe();
  }

  /**
   * The session has ended: ends the handlers, and sends no more answers.
   *
   * @param {Error} reason for the handlers
   * @param {unknown} error what `serve` rejects with; null at an orderly end
   */
  end(reason, error) {
    const running = [...this.#unanswered.values()];
    this.#unanswered.clear();
    this.#waiting.clear();
    this.#outcome ??= { error };
    for (const request of running) this.#cancel(request, reason);
    this.#settleServe();
  }

  #settleServe() {
    if (this.#outcome === null || this.#running > 0 || this.#serving === null) return;
    const { resolve, reject } = this.#serving;
    const { error } = this.#outcome;
    this.#serving = null;
    this.#outcome = null;
    this.#release();
    if (error === null) resolve();
    else reject(error);
    this.#session.consumerChanged();
  }
}

/**
 * @param {unknown} value
 * @returns {value is PromiseLike<unknown>}
 */
function isThenable(value) {
  return typeof (/** @type {any} */ (value)?.then) === 'function';
}

/** @param {unknown} error */
function textOf(error) {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return 'the handler has thrown something that has no text';
  }
}

function nothing() {}
