import { IPCChannelError } from './errors.js';

/**
 * The error of a rendezvous that can never work.
 *
 * @param {string} message
 */
export function refusal(message) {
  return new IPCChannelError('bad-rendezvous', message);
}

/**
 * A rendezvous string, as an error shows it.
 *
 * @param {string} text
 */
export function show(text) {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}
