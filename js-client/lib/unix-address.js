import { exactPath, refuseImpossible, refuseLonger } from './path.js';
import { refusal, show } from './refusal.js';
import { connectUnix } from './unix.js';

/**
 * @typedef {import('./path.js').Path} Path
 * @typedef {{transport: 'unix', path: Path}} UnixAddress
 */

const PREFIX = 'unix:';
// The limit of macOS, the lowest of all systems.
const MAX_PATH_BYTES = 103;

/**
 * The transport over a Unix socket. The kernel hands the peer what was written even if this end closes with
 * unread input.
 *
 * @type {import('./transports.js').Transport<UnixAddress>}
 */
export const UNIX = {
  name: 'unix',
  form: 'unix:/PATH',
  recognises: (text) => text.startsWith(`${PREFIX}/`),
  parse,
  dial: connectUnix,
  singleStream: true,
  drainsBeforeClose: false,
};

/**
 * @param {string} inText
 * @param {string} outText
 * @returns {UnixAddress}
 */
function parse(inText, outText) {
  const path = parsePath(inText);
  parsePath(outText);
  if (inText !== outText) {
    const strings = `in ${show(inText)} and out ${show(outText)}`;
    throw refusal(`${strings} must be the same string for a Unix socket`);
  }
  return { transport: 'unix', path };
}

/** @param {string} text */
function parsePath(text) {
  refuseImpossible(text);
  const exact = exactPath(text);
  const { length } = PREFIX;
  const path = typeof exact === 'string' ? exact.slice(length) : exact.subarray(length);
  refuseLonger(path, MAX_PATH_BYTES);
  return path;
}
