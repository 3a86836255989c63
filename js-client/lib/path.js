import fs from 'node:fs';

import { refusal, show } from './refusal.js';

/** A path as the functions of node:fs take it. @typedef {string | Buffer} Path */

// What Node puts in the place of bytes that are not UTF-8 when it decodes the environment.
const LOST = '\ufffd';
const LONE_SURROGATE = /\p{Surrogate}/u;
const VARIABLES = ['IPC_CHANNEL_IN', 'IPC_CHANNEL_OUT'];

/**
 * The path that `text` stands for: the bytes in the environment, if Node lost them in decoding.
 *
 * @param {string} text
 * @returns {Path}
 */
export function exactPath(text) {
  if (!text.includes(LOST)) return text;
  const candidates = VARIABLES.map((name) => inheritedBytes(name));
  return candidates.find((bytes) => bytes?.toString() === text) ?? text;
}

/**
 * Whether decoding may have lost bytes of the path. U+FFFD may also be part of the name; then a file of
 * that name exists.
 *
 * @param {Path} path
 */
export function isLossy(path) {
  return typeof path === 'string' && path.includes(LOST);
}

/**
 * Refuses what no file can be called.
 *
 * @param {string} text
 */
export function refuseImpossible(text) {
  if (text.includes('\0')) {
    throw refusal(`path ${show(text)} contains a NUL byte, which no file name can have`);
  }
  if (LONE_SURROGATE.test(text)) {
    throw refusal(`path ${show(text)} contains a lone surrogate, which no file name can have`);
  }
}

/**
 * @param {Path} path
 * @param {number} limit in bytes
 */
export function refuseLonger(path, limit) {
  const bytes = Buffer.byteLength(path);
  if (bytes <= limit) return;
  const text = `a path of ${bytes} bytes exceeds the limit of ${limit} bytes`;
  throw refusal(`${text}: use a shorter one`);
}

/**
 * The bytes of a variable that the process was started with; Linux only.
 *
 * @param {string} name
 */
function inheritedBytes(name) {
  let environment;
  try {
    environment = fs.readFileSync('/proc/self/environ');
  } catch {
    return undefined;
  }
  // Latin-1 keeps each byte.
  const entries = environment.toString('latin1').split('\0');
  const entry = entries.find((variable) => variable.startsWith(`${name}=`));
  return entry === undefined ? undefined : Buffer.from(entry.slice(name.length + 1), 'latin1');
}
