import { IPCChannelError } from './errors.js';
import { exactPath } from './path.js';

/**
 * @typedef {import('./path.js').Path} Path
 * @typedef {{transport: 'named_pipe', inPath: Path, outPath: Path}} NamedPipeRendezvous
 * @typedef {{transport: 'tcp', host: string, port: number}} TCPRendezvous
 */

const MAX_PATH_BYTES = 4095;
const LONE_SURROGATE = /\p{Surrogate}/u;
const MAX_PORT = 65535;
const PORT = /^[1-9][0-9]{0,4}$/;
const IPV4_PART = '(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])';
// 127.0.0.0/8 and nothing else: this is loopback only. Leading zeros are refused because some
// programs take them for octal.
const LOOPBACK_IPV4 = new RegExp(`^127(?:\\.${IPV4_PART}){3}$`);

/**
 * Tells from the two strings, both seen from this end, which transport they name and where it is.
 *
 * @param {unknown} inPath where this end reads from
 * @param {unknown} outPath where this end writes to
 * @returns {NamedPipeRendezvous | TCPRendezvous}
 */
export function parseRendezvous(inPath, outPath) {
  const inText = requireText('inPath', inPath);
  const outText = requireText('outPath', outPath);
  const pipes = [inText, outText].filter((text) => text.startsWith('/')).length;
  if (pipes === 2) return namedPipes(inText, outText);
  if (pipes === 1) throw bad(`${show(inText)} and ${show(outText)} name different transports`);
  const address = parseAddress(inText);
  parseAddress(outText);
  if (inText !== outText) {
    throw bad(`TCP has one string for both directions, not ${show(inText)} and ${show(outText)}`);
  }
  return address;
}

/**
 * The rendezvous strings that a server hands to its helper in the environment.
 *
 * @param {Record<string, string | undefined>} environment
 * @returns {{inPath: string, outPath: string}}
 */
export function fromEnvironment(environment) {
  const inPath = requireVariable(environment, 'IPC_CHANNEL_IN');
  const outPath = requireVariable(environment, 'IPC_CHANNEL_OUT');
  return { inPath, outPath };
}

/**
 * @param {Record<string, string | undefined>} environment
 * @param {string} name
 */
function requireVariable(environment, name) {
  const value = environment[name];
  if (value) return value;
  const state = value === undefined ? 'missing' : 'empty';
  const who = 'the service that starts this program sets it';
  const paths = "IPC_CHANNEL_IN to its server's out path and IPC_CHANNEL_OUT to its in path";
  const byHand = `to try it by hand, set ${paths}`;
  throw bad(`the environment variable ${name} is ${state}: ${who}; ${byHand}`);
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function requireText(name, value) {
  if (typeof value !== 'string') throw bad(`${name} must be a string, not ${typeof value}`);
  return value;
}

/**
 * @param {string} inText
 * @param {string} outText
 * @returns {NamedPipeRendezvous}
 */
function namedPipes(inText, outText) {
  const inPath = checkPath(inText);
  const outPath = checkPath(outText);
  if (inText === outText) throw bad(`named pipes need two paths, not ${show(inText)} twice`);
  return { transport: 'named_pipe', inPath, outPath };
}

/** @param {string} text */
function checkPath(text) {
  if (text.includes('\0')) throw bad(`the path ${show(text)} contains a NUL`);
  if (LONE_SURROGATE.test(text)) {
    throw bad(`no file can have the name ${show(text)}, which contains half a character`);
  }
  const path = exactPath(text);
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_PATH_BYTES) {
    throw bad(`a path of ${bytes} bytes exceeds the limit of ${MAX_PATH_BYTES}`);
  }
  return path;
}

/**
 * @param {string} text
 * @returns {TCPRendezvous}
 */
function parseAddress(text) {
  const colon = text.lastIndexOf(':');
  const host = colon === -1 ? '127.0.0.1' : parseHost(text, text.slice(0, colon));
  const port = parsePort(text, text.slice(colon + 1));
  return { transport: 'tcp', host, port };
}

/**
 * @param {string} text
 * @param {string} digits
 */
function parsePort(text, digits) {
  const port = PORT.test(digits) ? Number(digits) : 0;
  if (port < 1 || port > MAX_PORT) {
    throw bad(`${show(text)} is neither an absolute path nor PORT, HOST:PORT or [HOST]:PORT`);
  }
  return port;
}

/**
 * @param {string} text
 * @param {string} written
 */
function parseHost(text, written) {
  if (written === '[::1]') return '::1';
  const bracketed = written.startsWith('[') && written.endsWith(']');
  const host = bracketed ? written.slice(1, -1) : written;
  // No lookup: a resolver may be slow, absent or of another opinion.
  if (host === 'localhost') return '127.0.0.1';
  if (!LOOPBACK_IPV4.test(host)) {
    throw bad(`the host in ${show(text)} is none of localhost, 127.x.x.x and [::1]`);
  }
  return host;
}

/** @param {string} text */
function show(text) {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}

/** @param {string} message */
function bad(message) {
  return new IPCChannelError('bad-rendezvous', message);
}
