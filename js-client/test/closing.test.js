import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';

import { connect } from '../index.js';
import { Closing } from '../lib/closing.js';
import { NAMED_PIPE } from '../lib/pipe-address.js';
import { TCP } from '../lib/tcp-address.js';
import { startCode } from '../testing/process.js';
import { CLOSE_FRAME, frame, meetOverTCP, pattern, TRANSPORTS } from '../testing/rig.js';
import { until } from '../testing/wait.js';

/** @typedef {import('../index.js').Channel} Channel */

const MIB = 1024 * 1024;
// Four times as long as a peer that has sent its close frame may be silent. In milliseconds.
const SILENCE = 200;

const silence = () => new Promise((resolve) => setTimeout(resolve, SILENCE));

/**
 * A stream with a silent peer, which has acknowledged all output at the given look.
 *
 * @param {number} look
 * @returns {any}
 */
function streamAcknowledgedAt(look) {
  const stream = {
    looks: 0,
    unsent: 0,
    shutdown() {},
    async isAcknowledged() {
      stream.looks += 1;
      return stream.looks >= look;
    },
  };
  return stream;
}

/**
 * A stream from which the kernel has taken another byte at each look; `promise` resolves when it has all.
 *
 * @param {number} bytes
 */
function streamThatTakesAtEachLook(bytes) {
  /** @type {() => void} */
  let resolve = () => {};
  /** @type {Promise<void>} */
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  let left = bytes;
  /** @type {any} */
  const stream = {
    get unsent() {
      left -= 1;
      if (left === 0) resolve();
      return left;
    },
  };
  return { promise, stream };
}

/**
 * @param {Promise<void>} closing
 * @returns {() => boolean}
 */
function watch(closing) {
  let isOver = false;
  void closing.then(() => {
    isOver = true;
  });
  return () => isOver;
}

const FLOOD = Array.from({ length: 500 }, () => frame(Buffer.alloc(65_536)));

/** What makes a channel stop reading, and how to tell that it has. */
const FLOODS = [
  {
    what: 'its inbox was full',
    wire: FLOOD,
    hasStopped: (/** @type {Channel} */ channel) => /unreadMessages: 1[6-9]/.test(inspect(channel)),
  },
  {
    what: 'the peer had broken the limit',
    wire: [Buffer.from('ffffffff', 'hex'), ...FLOOD],
    hasStopped: (/** @type {Channel} */ channel) => channel.endReason === 'too_large',
  },
  {
    what: 'the peer had sent its close frame',
    wire: [CLOSE_FRAME, ...FLOOD],
    hasStopped: (/** @type {Channel} */ channel) => channel.endReason === 'clean',
  },
];

for (const { name, meet } of TRANSPORTS) {
  for (const { what, wire, hasStopped } of FLOODS) {
    // Covers SES-31, SES-34, SES-37.
    it(`close over ${name} reads on although ${what}`, async (t) => {
      const { channel, peer } = await meet(t, { linger: 10_000 });
      const message = pattern(8 * MIB);
      const write = channel.write(message).catch(() => {});
      const flood = peer.send(Buffer.concat(wire)).catch(() => {});
      await until(() => hasStopped(channel), 'a channel that does not read');
      const closing = channel.close();
      await flood; // reads nothing before
      const output = await peer.readAll();
      assert.ok(output.equals(Buffer.concat([frame(message), CLOSE_FRAME])), `${output.length}`);
      await peer.destroy();
      await Promise.all([closing, write]);
    });
  }
}

describe('close over TCP', () => {
  // Covers SES-60, SES-61.
  it('stays with a peer that is silent and has not said that it closes', async (t) => {
    const { channel, peer } = await meetOverTCP(t, { linger: 60_000 });
    await peer.send(frame('not the last'));
    assert.equal(String(await channel.read()), 'not the last');
    const closing = channel.close();
    const isOver = watch(closing);
    await silence();
    assert.equal(isOver(), false);
    await peer.endWriting();
    await closing;
    assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
  });

  // Covers SES-31, SES-60, SES-63.
  it('stays with a peer that has said that it closes and has not taken all', async (t) => {
    const { channel, peer } = await meetOverTCP(t, { linger: 60_000 });
    const message = pattern(300_000); // more than a peer's kernel takes that reads nothing
    await channel.write(message);
    await peer.send(CLOSE_FRAME);
    assert.equal(await channel.read(), null);
    const closing = channel.close();
    const isOver = watch(closing);
    await silence();
    assert.equal(isOver(), false);
    assert.ok((await peer.readAll()).equals(Buffer.concat([frame(message), CLOSE_FRAME])));
    if (process.platform !== 'linux') await peer.endWriting(); // elsewhere Node cannot see the acknowledgement
    await closing;
  });

  // Covers RDV-48, SES-63.
  it('stays until the server has let us in', { skip: process.platform !== 'linux' }, async (t) => {
    const code = `
      import net from 'node:net';
      const server = net.createServer({ allowHalfOpen: true }, async (socket) => {
        let hex = '';
        for await (const chunk of socket) hex += chunk.toString('hex');
        console.log('got ' + hex);
        server.close();
      });
      server.listen(0, '127.0.0.1', () => console.log('port ' + server.address().port));
    `;
    const { child, ended, said } = startCode(t, code);
    let output = '';
    child.stdout.on('data', (text) => {
      output += text;
    });
    await said('port');
    const stat = () => fs.readFileSync(`/proc/${child.pid}/stat`, 'latin1');
    child.kill('SIGSTOP');
    await until(() => / T /.test(stat()), 'a server that stands still');
    const address = output.slice('port '.length).trim();
    const channel = await connect({ inPath: address, outPath: address, linger: 60_000 });
    await channel.write(Buffer.from('hi'));
    const closing = channel.close();
    const isOver = watch(closing);
    await silence();
    assert.equal(isOver(), false);
    child.kill('SIGCONT');
    await closing;
    assert.match((await ended).output, /got 00000002686900000000\n/);
  });
});

describe('what close waits for', () => {
  for (const transport of [NAMED_PIPE, TCP]) {
    // Covers SES-53.
    it(`is nothing with a linger of 0 over ${transport.name}`, async () => {
      const never = new Promise(() => {});
      /** @type {number[]} */
      const over = [];
      const wait = async (/** @type {number} */ linger) => {
        const closing = new Closing(transport, streamAcknowledgedAt(Infinity), linger, () => true);
        assert.equal(await closing.wait(never), 'linger-over');
        over.push(linger);
      };
      await Promise.all([wait(40), wait(0)]);
      assert.deepEqual(over, [0, 40]); // timers that are due together fire in their order
    });
  }

  // Covers SES-52.
  it('is the output, if the kernel takes some of it within each linger', async () => {
    const linger = 60;
    const { promise: sent, stream } = streamThatTakesAtEachLook(30);
    const closing = new Closing(NAMED_PIPE, stream, linger, () => true);
    const start = performance.now();
    assert.equal(await closing.wait(sent), 'all-sent');
    assert.ok(performance.now() - start > 3 * linger, 'longer than the linger');
  });

  // Covers SES-63.
  it('is, with a silent peer, that its kernel has acknowledged all output', async () => {
    const stream = streamAcknowledgedAt(3);
    const closing = new Closing(TCP, stream, Infinity, () => true);
    assert.equal(await closing.wait(Promise.resolve()), 'all-sent');
    assert.equal(stream.looks, 3);
  });

  // Covers SES-62.
  it('is the linger, with a silent peer that never acknowledges all output', async () => {
    const closing = new Closing(TCP, streamAcknowledgedAt(Infinity), 120, () => true);
    assert.equal(await closing.wait(Promise.resolve()), 'linger-over');
  });
});
