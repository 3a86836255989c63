import { inspect } from 'node:util';

import { Channel, sessionOf } from './channel.js';
import { IPCChannelError, WrongTypeError } from './errors.js';
import { checkCallOptions, checkRequestChannelOptions, checkServeOptions } from './options.js';
import { RequestLayer } from './request-layer.js';
import { SMALLEST_LIMIT } from './request-message.js';

const NO_LIMITS = { signal: undefined, timeout: Infinity };

/** Requests and answers over a channel (spec/requests.md). See index.d.ts. */
export class RequestChannel {
  #layer;

  /**
   * @param {Channel} channel
   * @param {{maxOpen?: number}} [options]
   */
  constructor(channel, options = {}) {
    const { maxOpen } = checkRequestChannelOptions(options);
    if (!(channel instanceof Channel)) {
      const range = 'a Channel, as connect() and runHelper() give it';
      throw new WrongTypeError(`requests need ${range}, not ${inspect(channel, { depth: 0 })}`);
    }
    const session = sessionOf(channel);
    if (session.maxMessageSize < SMALLEST_LIMIT) {
      const text = `requests need a maxMessageSize of at least ${SMALLEST_LIMIT}, not ${session.maxMessageSize}: raise it at both ends`;
      throw new IPCChannelError('bad-option', text);
    }
    this.#layer = new RequestLayer(session, maxOpen);
  }

  /**
   * Sends a request. Resolves to the answer.
   *
   * @param {NodeJS.ArrayBufferView | ArrayBuffer} payload
   * @param {{signal?: AbortSignal, timeout?: number}} [options]
   * @returns {Promise<Buffer>}
   */
  call(payload, options) {
    return new Promise((resolve, reject) => {
      const limits = options === undefined ? NO_LIMITS : checkCallOptions(options);
      this.#layer.call(payload, limits, resolve, reject);
    });
  }

  /**
   * Answers requests until the session ends.
   *
   * @param {import('./callee.js').Handler} handler
   * @param {{concurrency?: number, signal?: AbortSignal}} [options]
   * @returns {Promise<void>}
   */
  serve(handler, options = {}) {
    return new Promise((resolve, reject) => {
      const { concurrency, signal } = checkServeOptions(options);
      if (typeof handler !== 'function') {
        const text = `the handler must be a function, not ${inspect(handler, { depth: 0 })}`;
        throw new WrongTypeError(text);
      }
      this.#layer.serve({ handler, concurrency, resolve, reject }, signal);
    });
  }
}

/**
 * Answers the requests that arrive on a channel until the session ends.
 *
 * @param {Channel} channel
 * @param {import('./callee.js').Handler} handler
 * @param {{concurrency?: number, signal?: AbortSignal, maxOpen?: number}} [options]
 * @returns {Promise<void>}
 */
export async function serve(channel, handler, { maxOpen, ...options } = {}) {
  return new RequestChannel(channel, { maxOpen }).serve(handler, options);
}
