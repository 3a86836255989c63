import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';

import * as entry from '../index.js';
import { refusal } from '../lib/refusal.js';
import { Missed, retry } from '../lib/retry.js';
import { Socket } from '../lib/socket.js';
import { TRANSPORTS } from '../lib/transports.js';
import { CLOSE_FRAME, frame, openDescriptors, Peer, pattern } from '../testing/rig.js';

/**
 * @typedef {import('../lib/stream.js').Handler} Handler
 * @typedef {import('../lib/stream.js').Stream} Stream
 * @typedef {{transport: 'pair', name: string}} PairAddress
 * @typedef {import('node:test').TestContext} TestContext
 */

const { connect } = entry;

// A transport that only this file has: one end of a pair of sockets, handed over to a client
// that knows its name. It shows what a new transport takes: this file, and the registration that follows it.
const PREFIX = 'pair:';
/** @type {Map<string, PairStream>} */
const handedOver = new Map();

/** @type {import('../lib/transports.js').Transport<PairAddress>} */
const PAIR = {
  name: 'pair',
  form: 'pair:NAME',
  recognises: (text) => text.startsWith(PREFIX),
  parse(inText, outText) {
    if (inText !== outText) throw refusal('a pair has one name for both directions');
    return { transport: 'pair', name: inText };
  },
  dial: ({ name }, deadline, signal) =>
    retry(() => fetch(name) ?? new Missed(`nothing is handed over as ${name}`), deadline, signal),
  singleStream: true,
  // The kernel resets the other end if this end is closed with unread input.
  drainsBeforeClose: true,
};
TRANSPORTS.push(PAIR);

/** @param {string} name */
function fetch(name) {
  const stream = handedOver.get(name);
  handedOver.delete(name);
  return stream;
}

/** @implements {Stream} */
class PairStream {
  /** @type {Handler | null} */
  #handler = null;
  #socket = new Socket(
    { allowHalfOpen: true },
    (chunk) => this.#handler?.onBytes(chunk) ?? false,
  ).pause();

  /** @param {string} file */
  async open(file) {
    this.#socket.connect(file);
    await once(this.#socket, 'connect');
  }

  /** @param {Handler} handler */
  start(handler) {
    this.#handler = handler;
    this.#socket.on('end', () => handler.onEnd());
    this.#socket.on('error', (error) => handler.onError(error));
    this.#socket.resume();
  }

  resume() {
    this.#socket.resume();
  }

  /**
   * @param {Buffer} bytes
   * @param {(error: Error | null) => void} done
   */
  write(bytes, done) {
    this.#socket.send(bytes, done);
  }

  get unsent() {
    return this.#socket.unsent;
  }

  async isAcknowledged() {
    return true;
  }

  shutdown() {
    this.#socket.end();
  }

  abortWrite() {
    this.#socket.end();
  }

  /** @param {boolean} wanted */
  setReferenced(wanted) {
    if (wanted) this.#socket.ref();
    else this.#socket.unref();
  }

  async destroy() {
    this.#socket.destroy();
    await this.#socket.freed;
  }
}

/**
 * A pair: the end for the channel, and the other one.
 *
 * @returns {Promise<[PairStream, net.Socket]>}
 */
async function makePair() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'pair-'));
  const file = path.join(directory, 'socket');
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(file);
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const stream = new PairStream();
  await stream.open(file);
  const [socket] = await accepted;
  server.close();
  fs.rmSync(directory, { recursive: true });
  return [stream, socket];
}

/** @param {string} name */
const at = (name) => ({ inPath: name, outPath: name });

/**
 * A channel that begins to connect to the name before anything is handed over under it.
 *
 * @param {TestContext} t
 */
async function meet(t) {
  const name = `${PREFIX}${t.name}`;
  const connecting = connect({ ...at(name), linger: Infinity });
  const [stream, socket] = await makePair();
  handedOver.set(name, stream);
  const channel = await connecting;
  const peer = new Peer(socket, socket);
  t.after(async () => {
    await peer.destroy();
    await channel.close();
  });
  return { channel, peer };
}

/** @param {Peer} peer */
async function echo(peer) {
  for (;;) {
    const message = await peer.readFrame();
    if (message.length === 0) return;
    await peer.send(frame(message));
  }
}

describe('a new transport', { skip: process.platform === 'win32' }, () => {
  // Beyond the specification: a transport that only the tests have.
  it('carries messages both ways, and ends cleanly', async (t) => {
    const before = await openDescriptors();
    const { channel, peer } = await meet(t);
    assert.match(inspect(channel), /transport: 'pair',\s+name: 'pair:/);
    const echoing = echo(peer);
    for (const size of [1, 1000, 5_000_000]) {
      const [message] = await Promise.all([channel.read(), channel.write(pattern(size))]);
      assert.ok(message?.equals(pattern(size)));
    }
    await peer.send(CLOSE_FRAME);
    assert.equal(await channel.read(), null);
    assert.equal(channel.endReason, 'clean');
    await Promise.all([channel.close(), echoing]);
    await peer.destroy();
    assert.equal(await openDescriptors(), before);
  });

  // Beyond the specification: a transport that only the tests have.
  it('is drained before it is closed, if it says so', async (t) => {
    const { channel, peer } = await meet(t);
    const closing = channel.close();
    assert.deepEqual(await peer.read(4), CLOSE_FRAME);
    let isOver = false;
    void closing.then(() => {
      isOver = true;
    });
    await peer.send(frame('no read takes this'));
    await openDescriptors(); // some turns
    assert.equal(isOver, false);
    await peer.endWriting();
    await closing;
  });

  // Beyond the specification: a transport that only the tests have.
  it('reports an end', async (t) => {
    const { channel, peer } = await meet(t);
    await peer.send(frame('last'));
    await peer.destroy();
    assert.equal(String(await channel.read()), 'last');
    assert.equal(await channel.read(), null);
    assert.equal(channel.endReason, 'eof');
  });

  const cannotReset = process.platform !== 'linux' && 'the system tells no reset from an end';
  // Beyond the specification: a transport that only the tests have.
  it('reports a reset, if it can be reset', { skip: cannotReset }, async (t) => {
    const { channel, peer } = await meet(t);
    const refused = assert.rejects(channel.read(), { code: 'reset' });
    await channel.write(Buffer.from('never read'));
    await peer.destroy();
    await refused;
    assert.equal(channel.endReason, 'reset');
  });

  // Beyond the specification: a transport that only the tests have.
  it('is refused and waited for like any other', async () => {
    const mixed = {
      code: 'bad-rendezvous',
      message: /in "pair:a" is for pair and out "\/a" for named_pipe: both must/,
    };
    await assert.rejects(connect({ inPath: 'pair:a', outPath: '/a' }), mixed);
    const two = { code: 'bad-rendezvous', message: /one name for both/ };
    await assert.rejects(connect({ inPath: 'pair:a', outPath: 'pair:b' }), two);
    const unknown = { code: 'bad-rendezvous', message: /\[HOST\]:PORT nor pair:NAME/ };
    await assert.rejects(connect(at('pigeon')), unknown);
    const late = { code: 'timeout', message: /handed over as pair:a/ };
    await assert.rejects(connect({ ...at('pair:a'), timeout: 1 }), late);
    const controller = new AbortController();
    const connecting = connect({ ...at('pair:a'), signal: controller.signal });
    setImmediate(() => controller.abort());
    await assert.rejects(connecting, { name: 'AbortError' });
  });
});

describe('the registry of transports', () => {
  // Beyond the specification: what the package exports.
  it('is no part of the public API', () => {
    assert.deepEqual(Object.keys(entry).sort(), [
      'AbortError',
      'Channel',
      'IPCChannelError',
      'RequestChannel',
      'RequestError',
      'WrongTypeError',
      'connect',
      'connectFromEnv',
      'runHelper',
      'serve',
    ]);
  });
});
