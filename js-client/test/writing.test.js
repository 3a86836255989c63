import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { frame, pattern, TRANSPORTS } from '../testing/rig.js';
import { turn } from '../testing/wait.js';

const MIB = 1024 * 1024;

/**
 * A buffer of sevens that can grow.
 *
 * @param {number} size
 * @returns {any} a resizable ArrayBuffer, which is younger than our types
 */
function growable(size) {
  const buffer = new /** @type {any} */ (ArrayBuffer)(size, { maxByteLength: 2 * size });
  new Uint8Array(buffer).fill(7);
  return buffer;
}

/**
 * Whether it is fulfilled soon.
 *
 * @param {Promise<void>} write
 */
function isDone(write) {
  const late = new Promise((resolve) => setTimeout(resolve, 100, false));
  return Promise.race([write.then(() => true), late]);
}

/** @param {Uint8Array} message */
function transfer(message) {
  const { buffer } = message;
  assert.ok(buffer instanceof ArrayBuffer);
  structuredClone(buffer, { transfer: [buffer] });
}

for (const { name, meet } of TRANSPORTS) {
  describe(`writing over ${name}`, () => {
    // Covers SES-20.
    it('never mixes concurrent writes', async (t) => {
      const { channel, peer } = await meet(t);
      const messages = Array.from({ length: 10 }, (_, index) => Buffer.alloc(100_000, index + 1));
      const writes = messages.map((message) => channel.write(message));
      for (const message of messages) assert.ok((await peer.readFrame()).equals(message));
      await Promise.all(writes);
    });

    // Covers SES-22.
    it('waits while the peer does not read, and then delivers all', async (t) => {
      const { channel, peer } = await meet(t);
      const message = pattern(32 * MIB);
      let resolved = false;
      const write = channel.write(message).then(() => {
        resolved = true;
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(resolved, false);
      assert.ok((await peer.readFrame()).equals(message));
      await write;
    });

    // Beyond the specification: the caller may use the memory again.
    it('has no use for the memory once a write has resolved', async (t) => {
      const { channel, peer } = await meet(t);
      const message = Buffer.from('before');
      await channel.write(message);
      message.fill('x');
      assert.equal(String(await peer.readFrame()), 'before');
    });

    // Covers SES-21.
    it('keeps frames whole when waiting writes are aborted', async (t) => {
      const { channel, peer } = await meet(t);
      const controller = new AbortController();
      const { signal } = controller;
      const first = channel.write(pattern(8 * MIB, 1), { signal });
      const second = channel.write(pattern(1000, 2), { signal });
      const third = channel.write(pattern(1000, 3));
      await turn();
      controller.abort();
      await assert.rejects(first, { name: 'AbortError' });
      await assert.rejects(second, { name: 'AbortError' });
      await assert.rejects(channel.write(pattern(5), { signal }), { name: 'AbortError' });
      assert.ok((await peer.readFrame()).equals(pattern(8 * MIB, 1)));
      assert.ok((await peer.readFrame()).equals(pattern(1000, 3)));
      await third;
    });

    // Covers SES-23.
    it('tells a write that waits when the peer goes', async (t) => {
      const { channel, peer } = await meet(t);
      const write = channel.write(Buffer.alloc(32 * MIB));
      const gone = assert.rejects(write, (/** @type {any} */ error) => {
        assert.ok(['peer-gone', 'reset'].includes(error.code), String(error));
        return true;
      });
      await peer.read(1000);
      await peer.destroy();
      await gone;
      await assert.rejects(channel.write(Buffer.from('x')), { name: 'IPCChannelError' });
    });

    // Covers SES-23.
    it('tells by the second write that the peer has gone', async (t) => {
      const { channel, peer } = await meet(t);
      await peer.destroy();
      assert.equal(await channel.read(), null);
      // Over TCP the peer's kernel answers the first write with a reset.
      if (name === 'TCP') await channel.write(Buffer.from('x'));
      const isGone = (/** @type {any} */ error) => ['peer-gone', 'reset'].includes(error.code);
      for (let count = 0; count < 2; count += 1) {
        await assert.rejects(channel.write(Buffer.from('x')), isGone);
      }
      assert.equal(channel.endReason, 'eof');
    });

    // Covers SES-25.
    it('leaves out a message that lost its memory before its turn', async (t) => {
      const { channel, peer } = await meet(t);
      const first = channel.write(pattern(8 * MIB));
      const gone = new Uint8Array(1000);
      const second = assert.rejects(channel.write(gone), { code: 'wrong-type' });
      const third = channel.write(Buffer.from('third'));
      transfer(gone);
      assert.ok((await peer.readFrame()).equals(pattern(8 * MIB)));
      assert.equal(String(await peer.readFrame()), 'third');
      await Promise.all([first, second, third]);
      // With nothing else to send in its turn:
      const before = channel.write(pattern(5));
      const last = new Uint8Array(1000);
      const lost = assert.rejects(channel.write(last), { code: 'wrong-type' });
      transfer(last);
      await peer.readFrame();
      await Promise.all([before, lost]);
      await channel.write(Buffer.from('still there'));
      assert.equal(String(await peer.readFrame()), 'still there');
    });

    for (const aborted of [false, true]) {
      const what = aborted ? 'after its write was aborted' : 'under way';
      // Covers SES-21, SES-24, SES-36.
      it(`ends its direction inside a message that lost its memory ${what}`, async (t) => {
        const { channel, peer } = await meet(t);
        await peer.send(frame('not read until then'));
        const controller = new AbortController();
        const written = [new Uint8Array(1000)];
        await channel.write(written[0]);
        // Larger than what goes to the kernel at once.
        const message = () => new Uint8Array(150_000).fill(written.length);
        let last = message();
        let write = channel.write(last, { signal: controller.signal });
        while (await isDone(write)) {
          written.push(last);
          last = message();
          write = channel.write(last, { signal: controller.signal });
        }
        const next = channel.write(Buffer.from('next'));
        transfer(last);
        if (aborted) controller.abort();
        const refused = Promise.all([
          assert.rejects(write, aborted ? { name: 'AbortError' } : { code: 'closed' }),
          assert.rejects(next, { code: 'closed', message: /memory was transferred or shrunk/ }),
        ]);
        // As much as makes the kernel take more; the rest must not be lost by closing. A Unix socket
        // takes more only once three quarters of what it holds have been read.
        const half = written.splice(0, Math.max(2, Math.ceil(written.length / 2)));
        for (const whole of half) assert.ok((await peer.readFrame()).equals(whole));
        await refused;
        await assert.rejects(channel.write(Buffer.from('later')), { code: 'closed' });
        assert.equal(String(await channel.read()), 'not read until then');
        await peer.send(frame('nor this'));
        const closing = channel.close();
        for (const whole of written) assert.ok((await peer.readFrame()).equals(whole));
        const rest = await peer.readAll();
        assert.ok(rest.length < 150_004);
        assert.ok(
          rest
            .subarray(4)
            .every((/** @type {number} */ byte) => byte === half.length + written.length),
        );
        await peer.destroy();
        await closing;
      });
    }

    // Covers SES-36.
    it('goes on after an abort for which there is no memory', async (t) => {
      const { channel, peer } = await meet(t);
      const controller = new AbortController();
      const write = channel.write(new Uint8Array(32 * MIB), { signal: controller.signal });
      const next = channel.write(Buffer.from('next'));
      await turn();
      const real = globalThis.Uint8Array;
      globalThis.Uint8Array = /** @type {any} */ (
        function none() {
          if (new.target === none) throw new RangeError('Array buffer allocation failed');
        }
      );
      try {
        controller.abort();
      } finally {
        globalThis.Uint8Array = real;
      }
      await assert.rejects(write, { name: 'AbortError' });
      void peer.readAll();
      await assert.rejects(next, { code: 'closed' });
    });

    // Beyond the specification: memory that the caller resizes.
    it('sends what a buffer held that grows meanwhile', async (t) => {
      const { channel, peer } = await meet(t);
      const [first, viewed] = [growable(3 * MIB), growable(3 * MIB)];
      const writes = [channel.write(first), channel.write(new Uint8Array(viewed))];
      for (const buffer of [first, viewed]) buffer.resize(4 * MIB);
      const last = channel.write(Buffer.from('last'));
      for (const size of [3 * MIB, 3 * MIB]) {
        assert.ok((await peer.readFrame()).equals(Buffer.alloc(size, 7)));
      }
      assert.equal(String(await peer.readFrame()), 'last');
      await Promise.all([...writes, last]);
    });

    // Covers SES-25.
    it('leaves out a message that became smaller before its turn', async (t) => {
      const { channel, peer } = await meet(t);
      const buffer = growable(1000);
      const first = channel.write(pattern(8 * MIB));
      const second = assert.rejects(channel.write(new Uint8Array(buffer, 0, 1000)), {
        code: 'wrong-type',
      });
      const third = channel.write(new Uint8Array(new SharedArrayBuffer(5)));
      buffer.resize(999);
      await peer.readFrame();
      assert.deepEqual(await peer.readFrame(), Buffer.alloc(5));
      await Promise.all([first, second, third]);
    });

    // Covers SES-21.
    it('survives 200 aborted writes to a peer that does not read', async (t) => {
      const { channel, peer } = await meet(t);
      const stuck = channel.write(Buffer.alloc(16 * MIB));
      for (let round = 0; round < 200; round += 1) {
        const controller = new AbortController();
        const write = channel.write(Buffer.alloc(1000), { signal: controller.signal });
        controller.abort();
        await assert.rejects(write, { name: 'AbortError' });
      }
      const last = channel.write(Buffer.from('last'));
      await peer.readFrame();
      assert.equal(String(await peer.readFrame()), 'last');
      await Promise.all([stuck, last]);
    });
  });
}
