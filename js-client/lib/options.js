import { inspect } from 'node:util';

import { IPCChannelError } from './errors.js';
import { nearest } from './spelling.js';

export const DEFAULT_TIMEOUT = 10_000;
export const DEFAULT_LINGER = 1_000;
export const DEFAULT_MAX_MESSAGE_SIZE = 64 * 1024 * 1024;
const LARGEST_MESSAGE_SIZE = 2 ** 32 - 1;
const LARGEST_USER = 2 ** 32 - 2; // the number above stands for no user

const PATHS = ['inPath', 'outPath'];
const SETTINGS = ['timeout', 'signal', 'maxMessageSize', 'linger', 'allowedUsers'];
const ALL = [...PATHS, ...SETTINGS];
const OF_CALLS = ['signal'];
const OF_SERVE = ['concurrency', 'signal'];
const DEFAULT_MAX_OPEN = 1024;
const LARGEST_MAX_OPEN = 2 ** 24; // as many entries as a Map can have

/**
 * The options of `connect`.
 *
 * @param {unknown} options
 */
export function checkConnectOptions(options) {
  const { inPath, outPath, ...settings } = checkNames('connect', options, ALL);
  return { inPath, outPath, ...checkSettings(settings) };
}

/**
 * The options of `connectFromEnv`.
 *
 * @param {unknown} options
 */
export function checkEnvOptions(options) {
  const given = checkNames('connectFromEnv', options, ALL);
  const path = PATHS.find((name) => name in given);
  if (path === undefined) return checkSettings(given);
  const where = 'the environment says where the server is; use connect to say it yourself';
  throw badOption(`connectFromEnv does not take the option ${path}: ${where}`);
}

/**
 * The options of `runHelper`, which has a signal of its own.
 *
 * @param {unknown} options
 */
export function checkHelperOptions(options) {
  const { signal, ...settings } = checkNames('runHelper', options, SETTINGS);
  if (signal === undefined) return checkSettings(settings);
  throw badOption('runHelper does not take the option signal: SIGTERM ends the helper');
}

/**
 * The signal among the options of a read or a write, if there are any.
 *
 * @param {string} call
 * @param {unknown} options
 * @returns {AbortSignal | undefined}
 */
export function signalOf(call, options) {
  if (options === undefined || options === null) return undefined;
  return checkSignal(checkNames(call, options, OF_CALLS).signal);
}

/**
 * The options of `new RequestChannel`.
 *
 * @param {unknown} options
 */
export function checkRequestChannelOptions(options) {
  const { maxOpen = DEFAULT_MAX_OPEN } = checkNames('RequestChannel', options, ['maxOpen']);
  return { maxOpen: checkCount('maxOpen', maxOpen, LARGEST_MAX_OPEN) };
}

/**
 * The options of a call of a RequestChannel.
 *
 * @param {unknown} options
 */
export function checkCallOptions(options) {
  const { signal, timeout = Infinity } = checkNames('call', options, ['signal', 'timeout']);
  return { signal: checkSignal(signal), timeout: checkMilliseconds('timeout', timeout) };
}

/**
 * The options of `serve`.
 *
 * @param {unknown} options
 */
export function checkServeOptions(options) {
  const { concurrency = Infinity, signal } = checkNames('serve', options, OF_SERVE);
  return {
    concurrency: concurrency === Infinity ? Infinity : checkCount('concurrency', concurrency),
    signal: checkSignal(signal),
  };
}

/**
 * A copy of the options, including inherited ones. An unknown name is most likely misspelled, and the
 * caller would notice only late that the default applies instead.
 *
 * @param {string} call
 * @param {unknown} options
 * @param {string[]} known
 * @returns {Record<string, unknown>}
 */
function checkNames(call, options, known) {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw badOption(`the options of ${call} must be an object, not ${inspect(options)}`);
  }
  /** @type {Record<string, unknown>} */
  const given = {};
  for (const name in options) {
    if (!known.includes(name)) throw unknownOption(call, name, known);
    given[name] = /** @type {Record<string, unknown>} */ (options)[name];
  }
  return given;
}

/**
 * @param {string} call
 * @param {string} name
 * @param {string[]} known
 */
function unknownOption(call, name, known) {
  const meant = nearest(name, known);
  const hint = meant === null ? `the options are ${known.join(', ')}` : `did you mean ${meant}?`;
  return badOption(`${call} has no option ${inspect(name)}: ${hint}`);
}

/** @param {Record<string, unknown>} settings */
function checkSettings({
  timeout = DEFAULT_TIMEOUT,
  linger = DEFAULT_LINGER,
  maxMessageSize = DEFAULT_MAX_MESSAGE_SIZE,
  signal,
  allowedUsers = [],
}) {
  return {
    timeout: checkMilliseconds('timeout', timeout),
    linger: checkMilliseconds('linger', linger),
    maxMessageSize: checkMaxMessageSize(maxMessageSize),
    signal: checkSignal(signal),
    allowedUsers: checkUsers(allowedUsers),
  };
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function checkMilliseconds(name, value) {
  if (typeof value === 'number' && value >= 0) return value;
  const range = 'a number of milliseconds, 0 or more; Infinity is no limit';
  throw badOption(`${name} must be ${range}, not ${inspect(value)}`);
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {number} [largest]
 */
function checkCount(name, value, largest = Number.MAX_SAFE_INTEGER) {
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= largest) {
    return Number(value);
  }
  throw badOption(`${name} must be a whole number from 1 to ${largest}, not ${inspect(value)}`);
}

/** @param {unknown} value */
function checkMaxMessageSize(value) {
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= LARGEST_MESSAGE_SIZE) {
    return Number(value);
  }
  const range = `a whole number of bytes from 1 to ${LARGEST_MESSAGE_SIZE}`;
  throw badOption(`maxMessageSize must be ${range}, not ${inspect(value)}`);
}

/**
 * @param {unknown} value
 * @returns {number[]}
 */
function checkUsers(value) {
  if (Array.isArray(value) && value.every(isUser)) return [...value];
  const range = `an array of user ids, whole numbers from 0 to ${LARGEST_USER}`;
  throw badOption(`allowedUsers must be ${range}, not ${inspect(value)}`);
}

/** @param {unknown} value */
function isUser(value) {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= LARGEST_USER;
}

/**
 * @param {unknown} value
 * @returns {AbortSignal | undefined}
 */
function checkSignal(value) {
  if (value === undefined || value === null) return undefined;
  if (isSignal(value)) return value;
  throw badOption(`signal must be an AbortSignal, not ${inspect(value, { depth: 0 })}`);
}

/**
 * Checks the shape, not the class: a signal may come from another realm or from a polyfill.
 *
 * @param {unknown} value
 * @returns {value is AbortSignal}
 */
function isSignal(value) {
  if (typeof value !== 'object' || value === null || !('aborted' in value)) return false;
  const { addEventListener, removeEventListener } = /** @type {AbortSignal} */ (value);
  return typeof addEventListener === 'function' && typeof removeEventListener === 'function';
}

/** @param {string} message */
function badOption(message) {
  return new IPCChannelError('bad-option', message);
}
