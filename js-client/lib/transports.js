import { NAMED_PIPE } from './pipe-address.js';
import { TCP } from './tcp-address.js';
import { UNIX } from './unix-address.js';

/**
 * Which servers to trust besides those of our own user and root, where the transport can tell.
 *
 * @typedef {{allowedUsers: readonly number[]}} Trust
 */

/**
 * One transport: its rendezvous strings, and what a session has to know about its streams.
 *
 * @template {{transport: string}} [Address=any] what two strings lead to; `console.log` shows it
 * @typedef {object} Transport
 * @property {string} name
 * @property {string} form what its strings look like, for errors
 * @property {(text: string) => boolean} recognises whether a string can only be meant for it
 * @property {(inText: string, outText: string) => Address} parse takes strings that it recognises;
 *   touches nothing
 * @property {(address: Address, deadline: import('./retry.js').Deadline,
 *   signal: AbortSignal | undefined, trust: Trust) => Promise<import('./stream.js').Stream>} dial
 *   connects to a server that may not be there yet
 * @property {boolean} singleStream whether both directions share a connection, so that a read that fails ends
 *   both
 * @property {boolean} drainsBeforeClose whether a close with unread input would lose output, so that close
 *   drains the input first (SES-60)
 */

/**
 * Every transport. A new one is a module, and its name here. The first that recognises a string gets
 * it, so TCP comes last: a path may end like a port.
 *
 * @type {Transport[]}
 */
export const TRANSPORTS = [NAMED_PIPE, UNIX, TCP];
