import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, it } from 'node:test';

import { CLOSE_FRAME, frame, pattern, TRANSPORTS } from '../testing/rig.js';

for (const { name, meet } of TRANSPORTS) {
  describe(`stream over ${name}`, () => {
    // Covers FRM-2, FRM-3, SES-5.
    it('carries one message a chunk, through a pipeline, to a clean end', async (t) => {
      const { channel, peer } = await meet(t);
      const stream = channel.stream();
      const shout = new Transform({
        objectMode: true,
        transform: (message, _encoding, done) => done(null, Buffer.from(`${message}!`)),
      });
      const piped = pipeline(stream, shout, stream);
      await peer.send(Buffer.concat([frame('one'), frame('two'), CLOSE_FRAME]));
      const expected = Buffer.concat([frame('one!'), frame('two!'), CLOSE_FRAME]);
      assert.deepEqual(await peer.read(expected.length), expected);
      await peer.destroy();
      await piped;
      assert.equal(channel.endReason, 'clean');
    });

    // Beyond the specification: a channel has one stream.
    it('is the same each time', async (t) => {
      const { channel } = await meet(t, { linger: 10 });
      assert.equal(channel.stream(), channel.stream());
    });

    // Beyond the specification: the buffer of the stream itself.
    it('does not read ahead, as the channel does', async (t) => {
      const { channel } = await meet(t);
      assert.equal(channel.stream().readableHighWaterMark, 1);
    });

    // Covers FRM-3, SES-4.
    it('goes on reading after it was ended', async (t) => {
      const { channel, peer } = await meet(t);
      const stream = channel.stream();
      stream.end(Buffer.from('question'));
      assert.equal(String(await peer.readFrame()), 'question');
      assert.deepEqual(await peer.read(4), CLOSE_FRAME);
      await assert.rejects(channel.write(Buffer.from('x')), { code: 'closed' });
      await peer.send(Buffer.concat([frame('answer'), CLOSE_FRAME]));
      const seen = [];
      for await (const message of stream) seen.push(String(message));
      assert.deepEqual(seen, ['answer']);
    });

    // Covers FRM-10, ERR-1.
    it('is destroyed by what a read or a write reports', async (t) => {
      const first = await meet(t);
      const broken = once(first.channel.stream().resume(), 'error');
      await first.peer.send(frame('cut').subarray(0, 5));
      await first.peer.destroy();
      assert.equal((await broken)[0].code, 'truncated');

      const second = await meet(t, { linger: 10 });
      const stream = second.channel.stream();
      const refused = once(stream, 'error');
      stream.write('text');
      assert.equal((await refused)[0].code, 'wrong-type');
    });

    // Covers SES-5.
    it('ends without an error if the peer has gone before the close frame', async (t) => {
      const { channel, peer } = await meet(t);
      const stream = channel.stream();
      await peer.send(frame('last'));
      await peer.destroy();
      const seen = [];
      for await (const message of stream.iterator({ destroyOnReturn: false })) seen.push(message);
      assert.deepEqual(seen.map(String), ['last']);
      stream.end();
      await once(stream, 'close');
      assert.equal(channel.endReason, 'eof');
    });

    // Covers FRM-2.
    it('has backpressure, and sends many small messages in order', async (t) => {
      const { channel, peer } = await meet(t);
      const stream = channel.stream();
      const sending = (async () => {
        for (let index = 0; index < 2000; index += 1) {
          if (!stream.write(pattern(1000, index))) await once(stream, 'drain');
        }
      })();
      for (let index = 0; index < 2000; index += 1) {
        assert.ok((await peer.readFrame()).equals(pattern(1000, index)));
      }
      await sending;
    });

    // Covers SES-31.
    it('sends nothing after a message that was refused', async (t) => {
      const { channel, peer } = await meet(t);
      const stream = channel.stream();
      const refused = once(stream, 'error');
      stream.cork();
      for (const message of [Buffer.from('one'), 'wrong', Buffer.from('two')])
        stream.write(message);
      process.nextTick(() => stream.uncork());
      assert.equal((await refused)[0].code, 'wrong-type');
      assert.deepEqual(await peer.readAll(), Buffer.concat([frame('one'), CLOSE_FRAME]));
      await peer.destroy();
    });

    // Beyond the specification: an error of the stream does not wait for the peer.
    it('reports an error at once, whatever the peer does', async (t) => {
      const { channel, peer } = await meet(t, { linger: Infinity });
      const stream = channel.stream();
      const filler = channel.write(pattern(32 * 1024 * 1024)).catch(() => {});
      const refused = once(stream, 'error');
      stream.write('wrong');
      assert.equal((await refused)[0].code, 'wrong-type');
      await peer.destroy();
      await filler;
    });

    // Covers SES-5.
    it('closes the channel when it is destroyed', async (t) => {
      const { channel, peer } = await meet(t, { linger: 10 });
      const stream = channel.stream();
      const closed = once(stream, 'close');
      stream.destroy();
      await closed;
      assert.equal(channel.endReason, 'local');
      await peer.destroy();
    });
  });
}
