import { refusal, show } from './refusal.js';
import { connectTCP } from './tcp.js';

/** @typedef {{transport: 'tcp', host: string, port: number}} TCPAddress */

const MAX_PORT = 65535;
const PORT = /^[1-9][0-9]{0,4}$/;
const IPV4_PART = '(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])';
// 127.0.0.0/8 and nothing else: this is loopback only. Leading zeros are refused because some
// programs take them for octal.
const LOOPBACK_IPV4 = new RegExp(`^127(?:\\.${IPV4_PART}){3}$`);

/**
 * The transport over a TCP connection of the loopback interface. If a socket is closed with unread input, the
 * kernel resets the connection, and the peer loses output that it has not read.
 *
 * @type {import('./transports.js').Transport<TCPAddress>}
 */
export const TCP = {
  name: 'tcp',
  form: 'PORT, HOST:PORT or [HOST]:PORT',
  recognises: (text) => portOf(text) !== null,
  parse,
  dial: connectTCP,
  singleStream: true,
  drainsBeforeClose: true,
};

/**
 * @param {string} inText
 * @param {string} outText
 */
function parse(inText, outText) {
  const address = parseAddress(inText);
  parseAddress(outText);
  if (inText !== outText) {
    const strings = `in ${show(inText)} and out ${show(outText)}`;
    throw refusal(`${strings} must be the same string for TCP`);
  }
  return address;
}

/**
 * @param {string} text
 * @returns {TCPAddress}
 */
function parseAddress(text) {
  const colon = text.lastIndexOf(':');
  const host = colon === -1 ? '127.0.0.1' : parseHost(text, text.slice(0, colon));
  return { transport: 'tcp', host, port: /** @type {number} */ (portOf(text)) };
}

/**
 * The port at the end of a string, or null if there is none.
 *
 * @param {string} text
 */
function portOf(text) {
  const digits = text.slice(text.lastIndexOf(':') + 1);
  const port = PORT.test(digits) ? Number(digits) : 0;
  return port < 1 || port > MAX_PORT ? null : port;
}

/**
 * @param {string} text
 * @param {string} written
 */
function parseHost(text, written) {
  if (written === '[::1]') return '::1';
  const bracketed = written.startsWith('[') && written.endsWith(']');
  const host = bracketed ? written.slice(1, -1) : written;
  // No lookup: a resolver may be slow or absent, or give another address.
  if (host === 'localhost') return '127.0.0.1';
  if (!LOOPBACK_IPV4.test(host)) {
    throw refusal(`the host in ${show(text)} must be localhost, 127.x.x.x or [::1]`);
  }
  return host;
}
