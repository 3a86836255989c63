import { onAbort } from './abort.js';
import { IPCChannelError, RequestError } from './errors.js';
import { Queue } from './queue.js';
import {
  CANCEL,
  decodeError,
  encode,
  HEAD_SIZE,
  REQUEST,
  requestPayload,
  setId,
} from './request-message.js';
import { LONGEST_TIMER } from './timer.js';

/**
 * @typedef {import('./session.js').Session} Session
 * @typedef {import('./queue.js').Node<Call>} Node
 */

const NOTHING = Buffer.alloc(0);

/** A call that has not been settled. */
class Call {
  #resolve;
  #reject;
  #release = nothing;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  #message;
  /** @type {number | null} the id of its request, once that is sent */
  id = null;
  /** @type {Node | null} its place in the queue, while it waits to be sent */
  node = null;

  /**
   * @param {Buffer} message the request, whose id is not set yet
   * @param {(payload: Buffer) => void} resolve
   * @param {(error: unknown) => void} reject
   */
  constructor(message, resolve, reject) {
    this.#message = message;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /**
   * @param {AbortSignal | undefined} signal
   * @param {number} timeout in milliseconds
   * @param {(error: unknown) => void} giveUp
   */
  limit(signal, timeout, giveUp) {
    this.#release = onAbort(signal, ({ cause }) => giveUp(cause));
    if (timeout > LONGEST_TIMER) return;
    this.#timer = setTimeout(() => {
      giveUp(new IPCChannelError('timeout', `no answer came within ${timeout} ms`));
    }, timeout);
  }

  /**
   * The request. Forgets it, since an answer may take longer than the memory should be held.
   *
   * @param {number} id
   */
  take(id) {
    const message = this.#message;
    this.#message = NOTHING;
    this.id = id;
    setId(message, id);
    return message;
  }

  /** @param {Buffer} payload */
  resolve(payload) {
    this.#stop();
    this.#resolve(payload);
  }

  /** @param {unknown} error */
  reject(error) {
    this.#stop();
    this.#reject(error);
  }

  #stop() {
    this.#release();
    if (this.#timer !== undefined) clearTimeout(this.#timer);
  }
}

/** The requests of this end, and the calls that wait for their answers. No call outlives `end`. */
export class Caller {
  #session;
  #maxOpen;
  /** @type {Map<number, Call | null>} the open requests by id; null if the answer is to be dropped */
  #open = new Map();
  /** @type {Queue<Call>} calls that wait until fewer requests are open */
  #waiting = new Queue();
  /** How many calls are not settled. */
  #unsettled = 0;
  #lastId = 0;
  /** @type {Error | null} why nothing more can be sent */
  #failure = null;

  /**
   * @param {Pick<Session, 'post' | 'maxMessageSize' | 'consumerChanged'>} session
   * @param {number} maxOpen
   */
  constructor(session, maxOpen) {
    this.#session = session;
    this.#maxOpen = maxOpen;
  }

  /** Whether a call waits for its answer. */
  get waits() {
    return this.#unsettled > 0;
  }

  /**
   * Takes a call, to be sent by `send`. Throws if the payload cannot be sent.
   *
   * @param {unknown} payload is copied
   * @param {{signal: AbortSignal | undefined, timeout: number}} limits
   * @param {(payload: Buffer) => void} resolve
   * @param {(error: unknown) => void} reject
   */
  add(payload, { signal, timeout }, resolve, reject) {
    const bytes = requestPayload(payload, this.#session.maxMessageSize);
    const call = new Call(encode(REQUEST, 0, bytes), resolve, reject);
    // First, because a signal that the caller implements may throw, and must leave no call behind.
    call.limit(signal, timeout, (error) => this.#giveUp(call, error));
    call.node = this.#waiting.push(call);
    this.#unsettled += 1;
  }

  /** Sends as many of the requests that wait as may be open, or rejects them if nothing can be sent. */
  send() {
    if (this.#failure !== null) this.#rejectWaiting(this.#failure);
    while (this.#open.size < this.#maxOpen) {
      const call = this.#waiting.shift();
      if (call === undefined) return;
      this.#send(call);
    }
  }

  /** @param {Call} call */
  #send(call) {
    const id = idAfter(this.#lastId, this.#open);
    this.#lastId = id;
    this.#open.set(id, call);
    const message = call.take(id);
    this.#session.post(message, (error) => {
      if (error !== undefined) this.#unsent(call, error);
    });
  }

  /**
   * Nothing more can be sent, but the answers of other requests may still come: to this one as well, if it
   * went out together with a part of another. So its id stays open.
   *
   * @param {Call} call
   * @param {Error} cause
   */
  #unsent(call, cause) {
    const text = `the request could not be sent: ${cause.message}`;
    const error = new IPCChannelError('unanswered', text, { cause });
    this.#failure = error;
    this.#drop(call, error);
    this.#rejectWaiting(error);
  }

  /**
   * @param {Call} call
   * @param {unknown} error
   */
  #giveUp(call, error) {
    if (call.id === null) {
      if (call.node !== null) this.#waiting.delete(call.node);
      this.#reject(call, error);
    } else if (this.#drop(call, error)) {
      this.#session.post(encode(CANCEL, call.id), nothing);
    }
  }

  /**
   * Ends the wait for an answer. The request stays open until it comes.
   *
   * @param {Call} call
   * @param {unknown} error
   * @returns {boolean} whether the call waited
   */
  #drop(call, error) {
    if (call.id === null || this.#open.get(call.id) !== call) return false;
    this.#open.set(call.id, null);
    this.#reject(call, error);
    return true;
  }

  /**
   * @param {Call} call
   * @param {unknown} error
   */
  #reject(call, error) {
    call.reject(error);
    this.#settled();
  }

  #settled() {
    this.#unsettled -= 1;
    if (this.#unsettled === 0) this.#session.consumerChanged();
  }

  /**
   * @param {number} id
   * @param {Buffer} message
   * @returns {boolean} whether the id is that of an open request
   */
  onAnswer(id, message) {
    const call = this.#open.get(id);
    if (!this.#open.delete(id)) return false;
    if (call) {
      call.resolve(message.subarray(HEAD_SIZE));
      this.#settled();
    }
    this.send();
    return true;
  }

  /**
   * @param {number} id
   * @param {Buffer} message
   * @returns {boolean} whether the id is that of an open request
   */
  onError(id, message) {
    const call = this.#open.get(id);
    if (!this.#open.delete(id)) return false;
    if (call) {
      const { code, text } = decodeError(message);
      this.#reject(call, new RequestError(code, text));
    }
    this.send();
    return true;
  }

  /**
   * The session has ended: rejects every call that waits.
   *
   * @param {Error} error
   * @param {Error} unsent for calls whose request was not sent
   */
  end(error, unsent) {
    const calls = [...this.#open.values()];
    this.#open.clear();
    for (const call of calls) if (call) this.#reject(call, error);
    this.#rejectWaiting(unsent);
  }

  /** @param {Error} error */
  #rejectWaiting(error) {
    for (let call = this.#waiting.shift(); call; call = this.#waiting.shift()) {
      this.#reject(call, error);
    }
  }
}

/**
 * The id of the next request. There are only 2^32 of them, and one that is still open must not be used again.
 *
 * @param {number} last
 * @param {{has: (id: number) => boolean}} open
 */
export function idAfter(last, open) {
  let id = last;
  do id = (id + 1) >>> 0;
  while (open.has(id));
  return id;
}

function nothing() {}
