import { inspect } from 'node:util';

import { IPCChannelError } from './errors.js';

export const DEFAULT_TIMEOUT = 10_000;
export const DEFAULT_LINGER = 1_000;
export const DEFAULT_MAX_MESSAGE_SIZE = 64 * 1024 * 1024;
const LARGEST_MESSAGE_SIZE = 2 ** 32 - 1;

/**
 * @param {{timeout?: unknown, linger?: unknown, maxMessageSize?: unknown, signal?: unknown}} options
 */
export function checkOptions(options) {
  if (typeof options !== 'object' || options === null) {
    throw badOption(`options must be an object, not ${inspect(options)}`);
  }
  const {
    timeout = DEFAULT_TIMEOUT,
    linger = DEFAULT_LINGER,
    maxMessageSize = DEFAULT_MAX_MESSAGE_SIZE,
  } = options;
  return {
    timeout: checkMilliseconds('timeout', timeout),
    linger: checkMilliseconds('linger', linger),
    maxMessageSize: checkMaxMessageSize(maxMessageSize),
    signal: checkSignal(options.signal),
  };
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function checkMilliseconds(name, value) {
  if (typeof value === 'number' && value >= 0) return value;
  throw badOption(`${name} must be a number of milliseconds from 0 up, not ${inspect(value)}`);
}

/** @param {unknown} value */
function checkMaxMessageSize(value) {
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= LARGEST_MESSAGE_SIZE) {
    return Number(value);
  }
  const range = `a whole number from 1 to ${LARGEST_MESSAGE_SIZE}`;
  throw badOption(`maxMessageSize must be ${range}, not ${inspect(value)}`);
}

/**
 * @param {unknown} value
 * @returns {AbortSignal | undefined}
 */
export function checkSignal(value) {
  if (value === undefined || value === null) return undefined;
  // By shape, not by class: a signal may come from another realm or from a polyfill.
  if (typeof value === 'object' && 'aborted' in value && 'addEventListener' in value) {
    return /** @type {AbortSignal} */ (value);
  }
  throw badOption('signal must be an AbortSignal');
}

/** @param {string} message */
function badOption(message) {
  return new IPCChannelError('bad-option', message);
}
