import fs from 'node:fs';

/** A path as the functions of node:fs take it. @typedef {string | Buffer} Path */

// What Node puts in the place of bytes that are not UTF-8, as it makes strings of the environment.
const LOST = '\ufffd';
const VARIABLES = ['IPC_CHANNEL_IN', 'IPC_CHANNEL_OUT'];

/**
 * The path that `text` stands for: its bytes, if Node has lost them on the way from the environment.
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
 * Whether bytes of the path were lost, or may have been: somebody has named a file so on purpose only
 * if there is one.
 *
 * @param {Path} path
 */
export function isLossy(path) {
  return typeof path === 'string' && path.includes(LOST);
}

/**
 * The value of a variable as the process was given it; Linux only.
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
  const entry = entries.find((one) => one.startsWith(`${name}=`));
  return entry === undefined ? undefined : Buffer.from(entry.slice(name.length + 1), 'latin1');
}
