// Helpers of this package in processes of their own, with a raw peer at the other end.
import { once } from 'node:events';

import { makePipes, openToRead } from './pipes.js';
import { startHelper } from './process.js';
import { listen, Peer, pipePeer } from './rig.js';
import { until } from './wait.js';

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * Starts a helper over named pipes.
 *
 * @param {TestContext} t
 * @param {string} file
 * @param {string[]} values
 */
export async function overPipes(t, file, ...values) {
  const paths = makePipes(t);
  const readFd = openToRead(paths.outPath);
  const helper = startHelper(t, file, paths, ...values);
  /** @type {Peer | undefined} */
  let peer;
  await until(() => {
    try {
      peer ??= pipePeer(paths, readFd);
    } catch {}
    return peer !== undefined;
  }, 'the helper');
  t.after(() => peer?.destroy());
  return { ...helper, peer: /** @type {Peer} */ (peer) };
}

/**
 * Starts a helper over TCP.
 *
 * @param {TestContext} t
 * @param {string} file
 * @param {string[]} values
 */
export async function overTCP(t, file, ...values) {
  const { server, address } = await listen(t);
  const accepted = once(server, 'connection');
  const helper = startHelper(t, file, { inPath: address, outPath: address }, ...values);
  const [socket] = await accepted;
  const peer = new Peer(socket, socket);
  t.after(() => peer.destroy());
  return { ...helper, peer };
}

export const OVER = /** @type {const} */ ([
  ['named pipes', overPipes],
  ['TCP', overTCP],
]);
