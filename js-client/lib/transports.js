import { NAMED_PIPE } from './pipe-address.js';
import { TCP } from './tcp-address.js';

/**
 * One transport: its rendezvous strings, and what a session has to know about its streams.
 *
 * @template {{transport: string}} [Address=any] what two strings lead to, for people to read too
 * @typedef {object} Transport
 * @property {string} name
 * @property {string} form what its strings look like, for errors
 * @property {(text: string) => boolean} recognises whether a string can only be meant for it
 * @property {(inText: string, outText: string) => Address} parse takes strings that it recognises;
 *   touches nothing
 * @property {(address: Address, deadline: import('./retry.js').Deadline,
 *   signal: AbortSignal | undefined) => Promise<import('./stream.js').Stream>} dial connects to a
 *   server that may not be there yet
 * @property {boolean} drainsBeforeClose whether closing with unread input would lose output, so that
 *   close waits for the peer's end (SES-60)
 */

/**
 * Every transport. A new one is a module, and its name here.
 *
 * @type {Transport[]}
 */
export const TRANSPORTS = [NAMED_PIPE, TCP];
