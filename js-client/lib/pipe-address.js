import { connectNamedPipe } from './named-pipe.js';
import { exactPath } from './path.js';
import { refusal, show } from './refusal.js';

/**
 * @typedef {import('./path.js').Path} Path
 * @typedef {{transport: 'named_pipe', inPath: Path, outPath: Path}} PipeAddress
 */

const MAX_PATH_BYTES = 4095;
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * The transport over two named pipes. What is in one stays there for the peer when we close.
 *
 * @type {import('./transports.js').Transport<PipeAddress>}
 */
export const NAMED_PIPE = {
  name: 'named_pipe',
  form: 'an absolute path',
  recognises: (text) => text.startsWith('/'),
  parse,
  dial: connectNamedPipe,
  drainsBeforeClose: false,
};

/**
 * @param {string} inText
 * @param {string} outText
 * @returns {PipeAddress}
 */
function parse(inText, outText) {
  const inPath = checkPath(inText);
  const outPath = checkPath(outText);
  if (inText === outText) throw refusal(`named pipes need two paths, not ${show(inText)} twice`);
  return { transport: 'named_pipe', inPath, outPath };
}

/** @param {string} text */
function checkPath(text) {
  if (text.includes('\0')) throw refusal(`the path ${show(text)} contains a NUL`);
  if (LONE_SURROGATE.test(text)) {
    throw refusal(`no file can have the name ${show(text)}, which contains half a character`);
  }
  const path = exactPath(text);
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_PATH_BYTES) {
    throw refusal(`a path of ${bytes} bytes exceeds the limit of ${MAX_PATH_BYTES}`);
  }
  return path;
}
