import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import {
  CLOSE_FRAME,
  frame,
  freeListeners,
  openDescriptors,
  pattern,
  readToEnd,
  TRANSPORTS,
} from '../testing/rig.js';
import { bytesOf, casesOf, messagesOf } from '../testing/vectors.js';
import { turn, until } from '../testing/wait.js';

const MIB = 1024 * 1024;

for (const { name, meet, tcp } of TRANSPORTS) {
  describe(`vectors over ${name}`, () => {
    for (const vector of [...casesOf('frames.json'), ...casesOf('ends.json')]) {
      if (vector.then === 'reset' && !tcp) continue;
      // Covers FRM-1, FRM-2, FRM-3, FRM-5, FRM-6, FRM-8, FRM-10, SES-1, SES-2, SES-5.
      it(vector.id, async (t) => {
        const { channel, peer } = await meet(t, { maxMessageSize: vector.max_message_size });
        const sending = peer.send(bytesOf(vector.wire)).catch(() => {});
        if (vector.then === 'reset') {
          await sending;
          peer.reset();
        } else {
          assert.ok([undefined, 'eof'].includes(vector.then));
          // Not endWriting(): over named pipes a peer that sent nothing and still reads has not left.
          void sending.then(() => peer.destroy());
        }
        const { messages, error } = await readToEnd(channel);
        assert.deepEqual(messages, messagesOf(vector.messages));
        assert.equal(error, vector.error);
        assert.equal(channel.endReason, vector.end_reason);
        assert.deepEqual(await readToEnd(channel), { messages: [], error }, 'asked again');
      });
    }
  });

  describe(`ends over ${name}`, () => {
    // Covers SES-2, SES-6.
    it('delivers what came before an end that was seen long ago', async (t) => {
      const { channel, peer } = await meet(t);
      await peer.send(Buffer.concat([frame('a'), frame('b')]));
      await peer.endWriting();
      await turn();
      assert.equal(channel.endReason, null);
      assert.equal(String(await channel.read()), 'a');
      assert.equal(String(await channel.read()), 'b');
      assert.equal(await channel.read(), null);
      assert.equal(channel.endReason, 'eof');
    });

    // Covers SES-5, SES-6.
    it('shows the end to a channel that nobody reads', async (t) => {
      const { channel, peer } = await meet(t);
      const [reading] = [channel.read()];
      await peer.send(frame('only'));
      await reading;
      await peer.destroy();
      // Nothing keeps an idle channel's socket alive but this loop.
      await until(() => channel.endReason !== null, 'the end');
      assert.equal(channel.endReason, 'eof');
    });

    // Covers SES-4.
    it('goes on writing after the peer has ended its direction', async (t) => {
      const { channel, peer } = await meet(t);
      await peer.send(CLOSE_FRAME);
      assert.equal(await channel.read(), null);
      for (let index = 0; index < 10; index += 1) await channel.write(Buffer.from(`${index}`));
      for (let index = 0; index < 10; index += 1) {
        assert.equal(String(await peer.readFrame()), `${index}`);
      }
    });

    // Covers FRM-8, SES-26.
    it('refuses to write once the peer has broken the limit', async (t) => {
      const { channel, peer } = await meet(t);
      await peer.send(Buffer.from('ffffffff', 'hex'));
      await assert.rejects(channel.read(), { code: 'too-large' });
      await assert.rejects(channel.write(Buffer.from('x')), { code: 'too-large' });
    });

    // Covers SES-21, SES-26, SES-37.
    it('tells writes that wait of a broken limit, and completes the frame that has begun', async (t) => {
      const { channel, peer } = await meet(t);
      const message = pattern(32 * MIB);
      const copy = Buffer.from(message);
      const writes = [message, Buffer.from('behind it')].map((one) => channel.write(one));
      const refused = writes.map((write) => assert.rejects(write, { code: 'too-large' }));
      await peer.send(Buffer.from('ffffffff', 'hex'));
      await Promise.all(refused);
      message.fill(0); // it is the caller's again
      const closing = channel.close();
      const expected = Buffer.concat([frame(copy), CLOSE_FRAME]);
      assert.ok((await peer.readAll()).equals(expected), 'one whole frame, then the close frame');
      await peer.destroy();
      await closing;
      assert.equal(channel.endReason, 'too_large');
    });

    // Covers FRM-10, SES-4.
    it('can answer a peer that cut its own stream', async (t) => {
      const { channel, peer } = await meet(t);
      await peer.send(Buffer.concat([frame('whole'), frame('cut').subarray(0, 5)]));
      await peer.endWriting();
      assert.deepEqual(await readToEnd(channel), {
        messages: [Buffer.from('whole')],
        error: 'truncated',
      });
      await channel.write(Buffer.from('sorry?'));
      assert.equal(String(await peer.readFrame()), 'sorry?');
    });

    // Covers SES-26.
    it('gives later writes the reset that a read was told of', { skip: !tcp }, async (t) => {
      const { channel, peer } = await meet(t);
      peer.reset();
      await assert.rejects(channel.read(), { code: 'reset' });
      await assert.rejects(channel.write(Buffer.from('x')), { code: 'reset' });
    });

    // Covers SES-2, SES-3, SES-24.
    it('keeps messages that had arrived when a write fails', async (t) => {
      const { channel, peer } = await meet(t);
      // So many that the channel stops reading, and few enough bytes for any kernel.
      const ahead = Array.from({ length: 4200 }, () => Buffer.from('x'));
      const behind = Array.from({ length: 10 }, (_, index) => pattern(1000, index));
      await peer.send(Buffer.concat(ahead.map(frame)));
      for (let count = 0; count < 20; count += 1) await turn();
      await peer.send(Buffer.concat(behind.map(frame)));
      if (tcp) peer.reset();
      else await peer.destroy();
      await assert.rejects(
        async () => {
          for (;;) await channel.write(Buffer.from('x')).then(turn);
        },
        (/** @type {any} */ error) => error.code === (tcp ? 'reset' : 'peer-gone'),
      );
      const seen = await readToEnd(channel);
      assert.deepEqual(seen.messages, [...ahead, ...behind]);
      assert.equal(channel.endReason, tcp ? 'reset' : 'eof');
    });
  });

  describe(`flow over ${name}`, () => {
    // Covers FRM-2.
    it('passes 3 MB both ways at once', async (t) => {
      const { channel, peer } = await meet(t);
      const message = pattern(3 * MIB);
      const [got, seen] = await Promise.all([
        channel.read(),
        peer.readFrame(),
        channel.write(message),
        peer.send(frame(message)),
      ]);
      assert.ok(got?.equals(message));
      assert.ok(seen.equals(message));
    });
  });

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
