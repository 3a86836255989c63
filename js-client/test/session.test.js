import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { CLOSE_FRAME, frame, pattern, readToEnd, TRANSPORTS } from '../testing/rig.js';
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
    it('shows the end on a channel without a read', async (t) => {
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
    it('gives later writes the reset that a read has met', { skip: !tcp }, async (t) => {
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
}
