import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import {
  CLOSE_FRAME,
  frame,
  freeListeners,
  openDescriptors,
  pattern,
  TRANSPORTS,
} from '../testing/rig.js';
import { turn } from '../testing/wait.js';

const MIB = 1024 * 1024;

for (const { name, meet } of TRANSPORTS) {
  describe(`close over ${name}`, () => {
    // Covers SES-31.
    it('delivers what was written, then the close frame', async (t) => {
      const { channel, peer } = await meet(t);
      const messages = Array.from({ length: 300 }, (_, index) => pattern(10_000, index));
      const writes = messages.map((message) => channel.write(message));
      const closing = channel.close();
      const expected = Buffer.concat([...messages.map(frame), CLOSE_FRAME]);
      assert.ok((await peer.readAll()).equals(expected));
      await peer.endWriting();
      await Promise.all([...writes, closing]);
    });

    // Covers SES-31, SES-60.
    it('loses no output although there is unread input', async (t) => {
      const { channel, peer } = await meet(t);
      const message = pattern(MIB);
      const flood = peer.send(Buffer.concat([frame(pattern(8 * MIB)), frame('more')]));
      flood.catch(() => {});
      const write = channel.write(message);
      await turn();
      const closing = channel.close();
      assert.ok((await peer.readAll()).equals(Buffer.concat([frame(message), CLOSE_FRAME])));
      await Promise.allSettled([flood]);
      await peer.destroy();
      await Promise.all([closing, write]);
    });

    // Covers SES-5, SES-26, SES-30, SES-33.
    it('wakes a read with null, and refuses what comes later', async (t) => {
      const { channel, peer } = await meet(t, { linger: 10 });
      const read = channel.read();
      await Promise.all([channel.close(), channel.close()]);
      await channel.close();
      assert.equal(await read, null);
      assert.equal(await channel.read(), null);
      assert.equal(channel.endReason, 'local');
      await assert.rejects(channel.write(Buffer.from('x')), { code: 'closed' });
      await peer.destroy();
    });

    // Covers SES-31, SES-33.
    it('gives up on a peer that does not read when the linger is over', async (t) => {
      const { channel, peer } = await meet(t, { linger: 100 });
      const write = channel.write(Buffer.alloc(32 * MIB));
      const refused = assert.rejects(write, { code: 'closed' });
      const start = performance.now();
      await channel.close();
      await refused;
      const took = performance.now() - start;
      assert.ok(took >= 99, `${took} ms`);
      assert.ok(took < 10_000, `${took} ms`);
      await peer.destroy();
    });

    // Covers SES-53.
    it('with a linger of 0 sends what the kernel takes at once', async (t) => {
      const { channel, peer } = await meet(t, { linger: 0 });
      const write = channel.write(Buffer.from('small'));
      await channel.close();
      await write;
      assert.deepEqual(await peer.readAll(), Buffer.concat([frame('small'), CLOSE_FRAME]));
      await peer.destroy();
    });

    for (const linger of [2 ** 31, Infinity]) {
      // Covers SES-31.
      it(`waits for a peer that does not read for ${linger} ms`, async (t) => {
        const { channel, peer } = await meet(t, { linger });
        const write = channel.write(pattern(32 * 2 ** 20));
        let closed = false;
        const closing = channel.close().then(() => {
          closed = true;
        });
        await new Promise((resolve) => setTimeout(resolve, 50)); // Node makes 1 ms of such times
        assert.equal(closed, false);
        assert.equal((await peer.readFrame()).length, 32 * 2 ** 20);
        assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
        peer.destroy();
        await Promise.all([write, closing]);
      });
    }

    // Covers SES-51.
    it('counts the linger anew while the peer takes output', async (t) => {
      const { channel, peer } = await meet(t, { linger: 1000 });
      const message = Buffer.alloc(8 * MIB, 6);
      const write = channel.write(message);
      await turn();
      const closing = channel.close();
      const wire = Buffer.concat([frame(message), CLOSE_FRAME]);
      for (let seen = 0; seen < wire.length; ) {
        const part = await peer.read(Math.min(256 * 1024, wire.length - seen));
        assert.ok(part.equals(wire.subarray(seen, seen + part.length)));
        seen += part.length;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await write;
      await peer.destroy();
      await closing;
    });

    // Covers SES-61.
    it('does not wait for a peer that has gone', async (t) => {
      const { channel, peer } = await meet(t, { linger: Infinity });
      await peer.destroy();
      await channel.close();
    });

    // Covers SES-1.
    it('keeps the reason of an end that was seen before', async (t) => {
      const { channel, peer } = await meet(t);
      await peer.send(CLOSE_FRAME);
      assert.equal(await channel.read(), null);
      await peer.endWriting();
      await channel.close();
      assert.equal(channel.endReason, 'clean');
    });

    // Covers SES-6.
    it('ends as local if a message is undelivered, whatever came behind it', async (t) => {
      const { channel, peer } = await meet(t);
      const [read] = [channel.read()];
      await peer.send(Buffer.concat([frame('first'), frame('second'), CLOSE_FRAME]));
      assert.equal(String(await read), 'first');
      await peer.endWriting();
      await turn();
      assert.equal(channel.endReason, null);
      const closing = channel.close();
      assert.equal(channel.endReason, 'local');
      assert.equal(await channel.read(), null);
      await closing;
      assert.equal(channel.endReason, 'local');
    });

    // Covers SES-33.
    it('gives a write that waits closed, even if the peer goes meanwhile', async (t) => {
      const { channel, peer } = await meet(t, { linger: Infinity });
      const write = channel.write(Buffer.alloc(32 * MIB));
      const closing = channel.close();
      const refused = assert.rejects(write, { code: 'closed' });
      await peer.read(1000);
      await peer.destroy();
      await Promise.all([refused, closing]);
      assert.equal(channel.endReason, 'local');
    });

    // Covers SES-32.
    it('frees every descriptor, 200 times', async (t) => {
      const before = await openDescriptors();
      for (let round = 0; round < 200; round += 1) {
        const { channel, peer } = await meet(t);
        const read = channel.read();
        await peer.destroy();
        assert.equal(await read, null);
        await channel.close();
        await freeListeners();
      }
      assert.equal(await openDescriptors(), before);
    });
  });
}
