// The handler that ../../spec/conformance.md describes, for the tests and for the testee.
import { once } from 'node:events';

import { RequestError } from '../index.js';

/** @typedef {import('../index.js').RequestChannel} RequestChannel */

/**
 * Goes by the first byte of the payload, as the page says.
 *
 * @param {() => RequestChannel} requests the channel on which `c` asks
 */
export function vectorHandler(requests) {
  /** @type {(payload: Buffer, context: {signal: AbortSignal}) => Promise<Buffer>} */
  return async (payload, { signal }) => {
    const rest = payload.subarray(1);
    const kind = String.fromCharCode(payload[0]);
    switch (kind) {
      case 'e':
        return rest;
      case 'f':
        throw chosenError(String(rest));
      case 't':
        throw new RequestError('e', 'ä'.repeat(Number(rest)));
      case 's':
        await requests().call(rest, { signal });
        return cancelled(signal);
      case 'w':
        return cancelled(signal);
      case 'i':
        await aborted(signal);
        return rest;
      case 'l':
        return Buffer.alloc(Number(rest), 'l');
      case 'c':
        return requests().call(rest, { signal });
      default:
        throw new Error(`cannot handle a payload that begins with ${JSON.stringify(kind)}`);
    }
  };
}

/** @param {string} text a code and, after a space, a text */
function chosenError(text) {
  const [code, ...words] = text.split(' ');
  return new RequestError(code, words.join(' '));
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<never>}
 */
async function cancelled(signal) {
  await aborted(signal);
  throw new RequestError('cancelled', 'as it was told');
}

/** @param {AbortSignal} signal */
async function aborted(signal) {
  if (!signal.aborted) await once(signal, 'abort');
}
