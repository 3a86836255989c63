import { connectNamedPipe } from './named-pipe.js';
import { exactPath, refuseImpossible, refuseLonger } from './path.js';
import { refusal, show } from './refusal.js';

/**
 * @typedef {import('./path.js').Path} Path
 * @typedef {{transport: 'named_pipe', inPath: Path, outPath: Path}} PipeAddress
 */

const MAX_PATH_BYTES = 4095;

/**
 * The transport over two named pipes. What is in a pipe stays there for the peer when this end closes.
 *
 * @type {import('./transports.js').Transport<PipeAddress>}
 */
export const NAMED_PIPE = {
  name: 'named_pipe',
  form: 'an absolute path',
  recognises: (text) => text.startsWith('/'),
  parse,
  dial: connectNamedPipe,
  singleStream: false,
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
  if (inText === outText) {
    const text = `in and out are the same path ${show(inText)}`;
    throw refusal(`${text}: a rendezvous of named pipes needs two`);
  }
  return { transport: 'named_pipe', inPath, outPath };
}

/** @param {string} text */
function checkPath(text) {
  refuseImpossible(text);
  const path = exactPath(text);
  refuseLonger(path, MAX_PATH_BYTES);
  return path;
}
