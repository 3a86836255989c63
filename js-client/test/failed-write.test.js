import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, it } from 'node:test';

import { makePipes, openToRead } from '../testing/pipes.js';
import {
  frame,
  meetAt,
  meetOverTCP,
  Peer,
  pattern,
  readToEnd,
  TRANSPORTS,
} from '../testing/rig.js';
import { turn } from '../testing/wait.js';

const MIB = 1024 * 1024;
const HINT =
  /a message of 33554432 bytes was sent only in part: if the peer's limit is smaller, raise /;

for (const { name, meet } of TRANSPORTS) {
  // Covers SES-23.
  it(`a write over ${name} that fails within a large message mentions the peer's limit`, async (t) => {
    const { channel, peer } = await meet(t);
    const write = assert.rejects(channel.write(pattern(32 * MIB)), HINT);
    const small = assert.rejects(channel.write(pattern(5)), HINT);
    await peer.read(100);
    await peer.destroy();
    await Promise.all([write, small]);
    await assert.rejects(channel.write(pattern(5)), HINT);
  });

  // Covers SES-23.
  it(`a write over ${name} that fails otherwise does not`, async (t) => {
    const { channel, peer } = await meet(t);
    await peer.destroy();
    const error = await failure(async () => {
      for (;;) await channel.write(Buffer.from('x')).then(turn);
    });
    assert.doesNotMatch(String(error), /limit/);
  });
}

// Covers SES-5.
it('a reset that ends the session within a large message mentions the limit', async (t) => {
  const { channel, peer } = await meetOverTCP(t);
  const write = assert.rejects(channel.write(pattern(32 * MIB)), HINT);
  await peer.read(100);
  peer.reset();
  await assert.rejects(channel.read(), HINT);
  await write;
});

// Covers SES-5.
it('a reset after a large message that was sent whole mentions the limit', async (t) => {
  const { channel, peer } = await meetOverTCP(t);
  await channel.write(pattern(100_000));
  await peer.read(4);
  peer.reset();
  const hint =
    /a message of 100000 bytes may not have been read: if the peer's limit is smaller, raise /;
  await assert.rejects(channel.read(), hint);
  await assert.rejects(channel.write(pattern(5)), hint);
});

// Covers SES-5.
it('a reset after small messages does not mention the limit', async (t) => {
  const { channel, peer } = await meetOverTCP(t);
  await channel.write(pattern(60_000));
  peer.reset();
  const error = await failure(() => channel.read());
  assert.doesNotMatch(String(error), /limit/);
});

describe('after a write over named pipes that failed', () => {
  for (const [what, size] of /** @type {const} */ ([
    ['4 bytes longer than what a pipe holds', 65_536],
    ['of two system calls', 100_000],
    ['of many system calls', 5 * MIB],
  ])) {
    // Covers SES-23, SES-26, SES-36.
    it(`nothing more is sent, of a frame ${what}`, async (t) => {
      const paths = makePipes(t);
      const { channel, peer } = await meetAt(paths);
      // The frame does not fit into the pipe, so that it is out in part.
      const write = channel.write(pattern(size));
      const failed = assert.rejects(write, { code: 'peer-gone' });
      await turn();
      peer.stopReading();
      await failed;
      const next = new net.Socket({
        fd: openToRead(paths.outPath),
        readable: true,
        writable: false,
      });
      const reader = new Peer(next, peer.writer);
      await assert.rejects(channel.write(Buffer.from('later')), { code: 'peer-gone' });
      await channel.close();
      const seen = await reader.readAll();
      const wire = frame(pattern(size));
      assert.ok(seen.length < wire.length, `${seen.length} bytes`);
      assert.ok(seen.equals(wire.subarray(0, seen.length)));
      await reader.destroy();
      await peer.destroy();
      assert.deepEqual((await readToEnd(channel)).messages, []);
    });
  }
});

/** @param {() => Promise<unknown>} call */
async function failure(call) {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}
