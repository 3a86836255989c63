import { Callee } from './callee.js';
import { Caller } from './caller.js';
import { closed } from './end.js';
import { IPCChannelError } from './errors.js';
import { ANSWER, CANCEL, ERROR, faultOf, idOf, REQUEST } from './request-message.js';

/**
 * @typedef {import('./callee.js').Handler} Handler
 * @typedef {import('./end.js').End} End
 * @typedef {import('./session.js').Session} Session
 * @typedef {import('./inbox.js').Consumer} Consumer
 * @typedef {object} LayerEnd
 * @property {Error} calls what calls reject with, if their request was sent
 * @property {Error} unsent what the others reject with
 * @property {unknown} serving what serve rejects with; null if it resolves
 */

/**
 * Requests and answers over a session (spec/requests.md).
 *
 * It takes messages only while a call waits or `serve` has not settled; otherwise they stay in the session.
 * So a request that arrives between a call and the `serve` that follows it is not lost.
 *
 * @implements {Consumer}
 */
export class RequestLayer {
  #session;
  #caller;
  #callee;
  /** @type {LayerEnd | null} */
  #end = null;
  #stopped = false;

  /**
   * @param {Session} session
   * @param {number} maxOpen
   */
  constructor(session, maxOpen) {
    this.#session = session;
    this.#caller = new Caller(session, maxOpen);
    this.#callee = new Callee(session, maxOpen);
    session.claim(this);
  }

  /**
   * @param {unknown} payload
   * @param {{signal: AbortSignal | undefined, timeout: number}} limits
   * @param {(payload: Buffer) => void} resolve
   * @param {(error: unknown) => void} reject
   */
  call(payload, limits, resolve, reject) {
    if (limits.signal?.aborted) throw limits.signal.reason;
    const wasActive = this.active;
    this.#caller.add(payload, limits, resolve, reject);
    if (this.#end !== null) this.#caller.end(this.#end.calls, this.#end.unsent);
    else if (!wasActive) this.#session.consume();
    this.#caller.send();
  }

  /**
   * @param {import('./callee.js').Serving} serving
   * @param {AbortSignal | undefined} signal
   */
  serve(serving, signal) {
    if (this.#callee.serves) {
      const text = 'this RequestChannel serves already: one handler answers all of its requests';
      throw new IPCChannelError('bad-option', text);
    }
    if (signal?.aborted) throw signal.reason;
    const wasActive = this.active;
    this.#callee.serve(serving, signal);
    if (this.#end !== null) this.#callee.end(this.#end.calls, this.#end.serving);
    else if (this.#stopped) this.#callee.stop();
    else if (!wasActive) this.#session.consume();
  }

  get active() {
    return this.#end === null && (this.#caller.waits || this.#callee.serves);
  }

  get full() {
    return this.#callee.full;
  }

  /** @param {Buffer} message */
  onMessage(message) {
    const fault = faultOf(message) ?? this.#take(message);
    if (fault !== null) this.#refuse(fault);
  }

  /**
   * @param {Buffer} message
   * @returns {string | null} why it is not allowed
   */
  #take(message) {
    const id = idOf(message);
    switch (message[0]) {
      case REQUEST:
        if (this.#callee.onRequest(id, message)) return null;
        return `a request with the id ${id}, which another one has that is not answered yet`;
      case ANSWER:
        if (this.#caller.onAnswer(id, message)) return null;
        return `an answer to the request ${id}, which is not open`;
      case ERROR:
        if (this.#caller.onError(id, message)) return null;
        return `an error to the request ${id}, which is not open`;
      case CANCEL:
        this.#callee.onCancel(id);
        return null;
      default:
        return null;
    }
  }

  /** @param {string} fault */
  #refuse(fault) {
    const advice = 'the peer has to use requests and answers, too, for all of its messages';
    const text = `the peer has sent ${fault}: ${advice}`;
    const error = new IPCChannelError('bad-message', text);
    const unsent = new IPCChannelError('bad-message', `the request was not sent: ${text}`);
    this.#finish({ calls: error, unsent, serving: error });
    void this.#session.close();
  }

  /** @param {End} end */
  onEnd(end) {
    this.#finish({ calls: callErrorOf(end), unsent: unsentErrorOf(end), serving: end.error });
  }

  /** @param {LayerEnd} end */
  #finish(end) {
    if (this.#end !== null) return;
    this.#end = end;
    this.#caller.end(end.calls, end.unsent);
    this.#callee.end(end.calls, end.serving);
  }

  onStop() {
    this.#stopped = true;
    this.#callee.stop();
  }
}

/**
 * What calls reject with when the session ends.
 *
 * @param {End} end
 */
function callErrorOf({ reason, error }) {
  if (reason === 'local') return closed();
  return unanswered(
    `the session has ended (${reason}): the request may or may not have been handled`,
    error,
  );
}

/**
 * What calls reject with whose request was not sent before the session ended.
 *
 * @param {End} end
 */
function unsentErrorOf({ reason, error }) {
  const text = 'and the request was not sent';
  if (reason === 'local') {
    return closed(`the channel was closed at this end, ${text}: connect again for a new session`);
  }
  return unanswered(`the session has ended (${reason}), ${text}`, error);
}

/**
 * @param {string} text
 * @param {Error | null} cause
 */
function unanswered(text, cause) {
  return new IPCChannelError('unanswered', text, cause === null ? undefined : { cause });
}
