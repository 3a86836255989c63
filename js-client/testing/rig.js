// What the tests share: rendezvous of every kind and raw peers, which speak bytes and know nothing of
// frames. Real named pipes, real sockets.
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';

import { connect } from '../index.js';
import { makePipes, openToRead, openToWrite } from './pipes.js';
import { listen, listenUnix } from './sockets.js';
import { turn } from './wait.js';

export { freeListeners, listen } from './sockets.js';

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * @param {string | Buffer} payload
 * @returns {Buffer}
 */
export function frame(payload) {
  const bytes = Buffer.from(payload);
  const header = Buffer.alloc(4);
  header.writeUInt32BE(bytes.length);
  return Buffer.concat([header, bytes]);
}

export const CLOSE_FRAME = Buffer.alloc(4);

/**
 * The number of descriptors of this process, after those that are being closed are closed. Always 0 on a
 * system without /proc.
 *
 * @returns {Promise<number>}
 */
export async function openDescriptors() {
  if (!fs.existsSync('/proc/self/fd')) return 0;
  let count = -1;
  for (let same = 0; same < 10; same += 1) {
    await turn();
    const now = fs.readdirSync('/proc/self/fd').length;
    if (now !== count) same = 0;
    count = now;
  }
  return count;
}

/** The other end of a channel: bytes in, bytes out. Reads only when asked to. */
export class Peer {
  /**
   * @param {net.Socket} reader
   * @param {net.Socket} writer
   */
  constructor(reader, writer) {
    this.reader = reader;
    this.writer = writer;
    // Ending the loop must not destroy a socket that is still written to.
    this.chunks = reader.iterator({ destroyOnReturn: false });
    /** @type {Buffer[]} */
    this.unread = [];
    for (const socket of new Set([reader, writer])) socket.on('error', () => {});
  }

  /**
   * Resolves when the kernel has the bytes.
   *
   * @param {Buffer} bytes
   * @returns {Promise<void>}
   */
  send(bytes) {
    return new Promise((resolve, reject) => {
      this.writer.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  /**
   * The next `count` bytes.
   *
   * @param {number} count
   * @returns {Promise<Buffer>}
   */
  async read(count) {
    let length = this.unread.reduce((sum, chunk) => sum + chunk.length, 0);
    while (length < count) {
      const { done, value } = await this.chunks.next();
      if (done) throw new Error(`the stream ended after ${length} of ${count} bytes`);
      this.unread.push(value);
      length += value.length;
    }
    const all = this.unread.length === 1 ? this.unread[0] : Buffer.concat(this.unread);
    this.unread = [all.subarray(count)];
    return all.subarray(0, count);
  }

  /** One frame's payload. */
  async readFrame() {
    const header = await this.read(4);
    const length = header.readUInt32BE();
    return length === 0 ? Buffer.alloc(0) : this.read(length);
  }

  /**
   * Everything up to the end, or up to a reset.
   *
   * @returns {Promise<Buffer>}
   */
  async readAll() {
    const { unread } = this;
    this.unread = [];
    try {
      for await (const chunk of this.chunks) unread.push(chunk);
    } catch {}
    return Buffer.concat(unread);
  }

  /** Ends our direction; goes on reading. */
  async endWriting() {
    this.writer.end();
    await once(this.writer, 'finish');
    if (this.writer !== this.reader) this.writer.destroy();
  }

  /** No longer reads; goes on writing. Named pipes only. */
  stopReading() {
    this.reader.destroy();
  }

  /** Drops everything at once. */
  async destroy() {
    const sockets = [...new Set([this.reader, this.writer])].filter((socket) => !socket.closed);
    const closed = sockets.map((socket) => !socket.destroyed && once(socket, 'close'));
    for (const socket of sockets) socket.destroy();
    await Promise.all(closed);
  }

  /** TCP only. */
  reset() {
    this.writer.resetAndDestroy();
  }
}

/**
 * The server's end of two named pipes. Call it when the client has opened its own ends.
 *
 * @param {import('./pipes.js').Paths} paths as the client sees them
 * @param {number} [readFd] the server's read end if it is open already
 */
export function pipePeer({ inPath, outPath }, readFd = openToRead(outPath)) {
  const writeFd = openToWrite(inPath);
  const reader = new net.Socket({ fd: readFd, readable: true, writable: false });
  reader.pause();
  return new Peer(reader, new net.Socket({ fd: writeFd, readable: false, writable: true }));
}

/**
 * @typedef {object} Meeting
 * @property {import('../index.js').Channel} channel
 * @property {Peer} peer
 */

/**
 * A channel and the server's end of its named pipes.
 *
 * @param {import('./pipes.js').Paths} paths as the client sees them
 * @param {object} [options]
 * @param {number} [readFd] the server's read end if it is open already
 * @returns {Promise<Meeting>}
 */
export async function meetAt({ inPath, outPath }, options, readFd = openToRead(outPath)) {
  const connecting = connect({ inPath, outPath, timeout: 60_000, ...options });
  await turn(); // it has opened its read end by now
  const peer = pipePeer({ inPath, outPath }, readFd);
  return { channel: await connecting, peer };
}

/**
 * @param {TestContext} t
 * @param {object} [options]
 * @returns {Promise<Meeting>}
 */
export async function meetOverPipes(t, options) {
  return freeAfter(t, await meetAt(makePipes(t), options));
}

/**
 * @param {TestContext} t
 * @param {object} [options]
 * @returns {Promise<Meeting>}
 */
export async function meetOverUnix(t, options) {
  return meetSocket(t, await listenUnix(t), options);
}

/**
 * @param {TestContext} t
 * @param {object} [options]
 * @returns {Promise<Meeting>}
 */
export async function meetOverTCP(t, options) {
  return meetSocket(t, await listen(t), options);
}

/**
 * @param {TestContext} t
 * @param {{server: net.Server, address: string}} listening
 * @param {object} [options]
 * @returns {Promise<Meeting>}
 */
async function meetSocket(t, { server, address }, options) {
  const accepted = once(server, 'connection');
  const channel = await connect({ inPath: address, outPath: address, ...options });
  const [socket] = await accepted;
  return freeAfter(t, { channel, peer: new Peer(socket, socket) });
}

/**
 * @param {TestContext} t
 * @param {Meeting} meeting
 */
function freeAfter(t, meeting) {
  t.after(async () => {
    await meeting.peer.destroy();
    await meeting.channel.close();
  });
  return meeting;
}

/** The transports, for checks that run over each. */
export const TRANSPORTS = [
  { name: 'named pipes', meet: meetOverPipes, tcp: false },
  { name: 'Unix sockets', meet: meetOverUnix, tcp: false },
  { name: 'TCP', meet: meetOverTCP, tcp: true },
];

/**
 * @param {import('../index.js').Channel} channel
 * @returns {Promise<{messages: Buffer[], error: string | null}>}
 */
export async function readToEnd(channel) {
  /** @type {Buffer[]} */
  const messages = [];
  try {
    for await (const message of channel) messages.push(message);
    return { messages, error: null };
  } catch (error) {
    return { messages, error: /** @type {any} */ (error).code };
  }
}

/**
 * @param {number} size
 * @param {number} [seed]
 */
export function pattern(size, seed = 0) {
  const bytes = Buffer.allocUnsafe(size);
  for (let index = 0; index < size; index += 1)
    bytes[index] = (index * 31 + seed * 7 + (index >> 8)) & 255;
  return bytes;
}
