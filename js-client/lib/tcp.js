import { onAbort } from './abort.js';
import { IPCChannelError, systemCode } from './errors.js';
import { Missed, retry } from './retry.js';
import { TCPStream } from './tcp-stream.js';

/** @typedef {import('./retry.js').Deadline} Deadline */

// The shortest time that a try gets, even with a timeout of 0. On loopback the kernel answers at once, but
// the answer comes through the event loop. In milliseconds.
const LEAST_TIMEOUT = 20;
const LONGEST_TIMEOUT = 2 ** 31 - 1;
// No later try will succeed after one of these errors.
const NEVER = new Set(['EAFNOSUPPORT', 'ENETUNREACH', 'EACCES', 'EPERM']);
// This end has run out of something. That is not about the server, so the caller gets the error itself.
const OUT_OF = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL']);

/**
 * Connects to the server at its port.
 *
 * @param {{host: string, port: number}} address
 * @param {Deadline} deadline
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<TCPStream>}
 */
export function connectTCP(address, deadline, signal) {
  return retry(() => attempt(address, deadline, signal), deadline, signal);
}

/**
 * @param {{host: string, port: number}} address
 * @param {Deadline} deadline
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<TCPStream | Missed>}
 */
async function attempt(address, deadline, signal) {
  const stream = new TCPStream();
  let expired = false;
  const release = onAbort(signal, () => void stream.destroy());
  const cancel = after(Math.max(deadline.remaining, LEAST_TIMEOUT), () => {
    expired = true;
    void stream.destroy();
  });
  const where = `${address.host}:${address.port}`;
  let missed = new Missed(`${where} was free, and the socket was connected to itself`);
  try {
    await stream.open(address);
    if (!stream.toItself) return stream;
  } catch (error) {
    refuse(error, address);
    const why = systemCode(error) ?? 'no answer';
    missed = new Missed(
      `${where}: ${why}; check that the server is running, and that this is its address`,
      error,
    );
  } finally {
    release();
    cancel();
  }
  await stream.destroy();
  if (expired) throw deadline.missed(missed);
  return missed;
}

/**
 * Calls `action` unless cancelled before. It is late by one turn of the event loop, so that a connection
 * that the kernel made while this process was busy still counts.
 *
 * @param {number} milliseconds
 * @param {() => void} action
 */
function after(milliseconds, action) {
  /** @type {NodeJS.Immediate | undefined} */
  let immediate;
  const timer = setTimeout(
    () => {
      immediate = setImmediate(action);
    },
    // Node's timers count whole milliseconds and may be early by one.
    Math.min(Math.ceil(milliseconds) + 1, LONGEST_TIMEOUT),
  );
  return () => {
    clearTimeout(timer);
    clearImmediate(immediate);
  };
}

/**
 * @param {unknown} error
 * @param {{host: string, port: number}} address
 */
function refuse(error, { host, port }) {
  const code = systemCode(error) ?? '';
  // Over IPv6: IPv6 is switched off, and there is no ::1. Over IPv4: no port is left to connect from.
  const missing = code === 'EADDRNOTAVAIL' && host.includes(':');
  if (missing || NEVER.has(code)) {
    const text = `${host}:${port} cannot be reached: ${code}`;
    throw new IPCChannelError('bad-rendezvous', text, { cause: error });
  }
  if (OUT_OF.has(code)) throw error;
}
