// Messages of the layer of requests, as a raw peer makes them, and two ends of this package that face each other.
import { once } from 'node:events';

import { connect } from '../index.js';
import { frame } from './rig.js';
import { at, listenUnix } from './sockets.js';

/**
 * @typedef {import('./rig.js').Peer} Peer
 * @typedef {[kind: string, id: number, body: string]} Told
 */

/** @type {Record<string, number>} */
const KINDS = { request: 0x11, answer: 0x12, error: 0x13, cancel: 0x14 };

/** What `told` makes of the error of an end that does not serve. */
export const UNSERVED =
  'unserved:the end that got this request does not serve: it only calls, or has stopped';

/**
 * The frame of a message.
 *
 * @param {string} kind
 * @param {number} id
 * @param {string | Buffer} [body]
 */
export function framed(kind, id, body = '') {
  const head = Buffer.alloc(5, KINDS[kind]);
  head.writeUInt32BE(id, 1);
  return frame(Buffer.concat([head, Buffer.from(body)]));
}

/**
 * The next message of this end. The body of an error is its code, and its text behind a colon.
 *
 * @param {Peer} peer
 * @returns {Promise<Told>}
 */
export async function told(peer) {
  const message = await peer.readFrame();
  const kind = Object.keys(KINDS).find((name) => KINDS[name] === message[0]) ?? `${message[0]}`;
  const id = message.readUInt32BE(1);
  const body = String(message.subarray(5));
  if (kind !== 'error') return [kind, id, body];
  const length = body.charCodeAt(0);
  return [kind, id, `${body.slice(1, 1 + length)}:${body.slice(1 + length)}`];
}

/**
 * Two channels that are connected to each other.
 *
 * @param {import('node:test').TestContext} t
 */
export async function twoEnds(t) {
  const ends = [await oneEnd(t), await oneEnd(t)];
  const [{ socket: first }, { socket: second }] = ends;
  first.pipe(second).pipe(first);
  for (const socket of [first, second]) socket.on('error', () => {});
  return ends.map(({ channel }) => channel);
}

/** @param {import('node:test').TestContext} t */
async function oneEnd(t) {
  const { server, file } = await listenUnix(t);
  const accepted = once(server, 'connection');
  const channel = await connect(at(file));
  const [socket] = await accepted;
  t.after(() => channel.close());
  t.after(() => socket.destroy());
  return { channel, socket };
}

/** A promise, and what settles it. */
export function gate() {
  /** @type {(value?: any) => void} */
  let open = () => {};
  /** @type {Promise<any>} */
  const opened = new Promise((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** Rejects with the reason of a signal. @param {AbortSignal} signal */
export function untilAborted(signal) {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason));
  });
}
