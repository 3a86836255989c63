import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { CLOSE_FRAME, frame, pattern, TRANSPORTS } from '../testing/rig.js';

const MIB = 1024 * 1024;
const SIZES = [1, 4092, 65531, 65532, 65533, 65534, 65535, 65536, 65537, MIB, 5 * MIB];

for (const { name, meet } of TRANSPORTS) {
  describe(`channel over ${name}`, () => {
    // Covers FRM-1, FRM-2.
    it('passes messages of every size, both ways', async (t) => {
      const { channel, peer } = await meet(t);
      for (const size of SIZES) {
        const message = pattern(size, size);
        const [answer, seen] = await Promise.all([
          channel.read(),
          peer.readFrame(),
          channel.write(message),
          peer.send(frame(message)),
        ]);
        assert.ok(answer?.equals(message), `received ${size}`);
        assert.ok(seen.equals(message), `sent ${size}`);
      }
    });

    // Covers FRM-1, FRM-3, SES-31.
    it('sends header and payload exactly as they are on the wire', async (t) => {
      const { channel, peer } = await meet(t);
      await channel.write(Buffer.from('abc'));
      const closing = channel.close();
      assert.deepEqual(await peer.readAll(), Buffer.from('00000003616263' + '00000000', 'hex'));
      await Promise.all([peer.destroy(), closing]);
    });

    // Beyond the specification: the types that a message may have.
    it('takes anything that is bytes', async (t) => {
      const { channel, peer } = await meet(t);
      const memory = Uint8Array.from([9, 1, 2, 3, 4, 5, 6, 7, 8, 9]).buffer;
      const views = [
        Buffer.from(memory, 1, 8),
        new Uint8Array(memory, 1, 8),
        new Int8Array(memory, 1, 8),
        new Uint16Array(memory.slice(1, 9)),
        new Float64Array(memory.slice(1, 9)),
        new DataView(memory, 1, 8),
        memory.slice(1, 9),
      ];
      for (const view of views) {
        await channel.write(view);
        assert.deepEqual(await peer.readFrame(), Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]));
      }
    });

    // Covers FRM-4, FRM-7, SES-25, ERR-1.
    it('refuses what cannot be a message, sends nothing, and stays usable', async (t) => {
      const { channel, peer } = await meet(t, { maxMessageSize: 10 });
      for (const wrong of ['text', null, undefined, 5, {}, [1, 2], new SharedArrayBuffer(4)]) {
        const write = channel.write(/** @type {any} */ (wrong));
        await assert.rejects(write, (/** @type {any} */ error) => {
          assert.ok(error instanceof TypeError);
          assert.equal(/** @type {any} */ (error).code, 'wrong-type');
          return true;
        });
      }
      for (const empty of [Buffer.alloc(0), new ArrayBuffer(0), new Float64Array(0)]) {
        await assert.rejects(channel.write(empty), {
          name: 'IPCChannelError',
          code: 'empty-message',
        });
      }
      const large = channel.write(Buffer.alloc(11));
      await assert.rejects(large, {
        code: 'message-too-large',
        message: /11 bytes .* limit of 10/,
      });
      await channel.write(Buffer.alloc(10, 1));
      const closing = channel.close();
      assert.deepEqual(
        await peer.readAll(),
        Buffer.concat([frame(Buffer.alloc(10, 1)), CLOSE_FRAME]),
      );
      await Promise.all([peer.destroy(), closing]);
    });

    // Covers FRM-3, SES-1, SES-5.
    it('iterates to the end', async (t) => {
      const { channel, peer } = await meet(t);
      await peer.send(Buffer.concat([frame('one'), frame('two'), CLOSE_FRAME]));
      const seen = [];
      for await (const message of channel) seen.push(String(message));
      assert.deepEqual(seen, ['one', 'two']);
      assert.equal(channel.endReason, 'clean');
      for await (const message of channel) assert.fail(String(message));
    });

    // Covers SES-10.
    it('gives nothing more to a loop that was left', async (t) => {
      const { channel, peer } = await meet(t);
      await peer.send(Buffer.concat([frame('one'), frame('two')]));
      const messages = channel[Symbol.asyncIterator]();
      assert.equal(String((await messages.next()).value), 'one');
      assert.deepEqual(await messages.return?.(7), { done: true, value: 7 });
      assert.deepEqual(await messages.next(), { done: true, value: undefined });
      const others = channel[Symbol.asyncIterator]();
      assert.equal(String((await others.next()).value), 'two');
      const waiting = Array.from({ length: 20 }, () => others.next());
      await others.return?.();
      for (const one of waiting) assert.deepEqual(await one, { done: true, value: undefined });
      await peer.send(frame('three'));
      assert.equal(String(await channel.read()), 'three');
    });

    // Covers FRM-10, SES-5.
    it('tells a loop of an error', async (t) => {
      const { channel, peer } = await meet(t);
      await peer.send(Buffer.from([0, 0]));
      const next = channel[Symbol.asyncIterator]().next();
      const told = assert.rejects(next, { code: 'truncated' });
      await peer.destroy();
      await told;
    });

    // Beyond the specification: leaving a loop leaves the channel open.
    it('can leave the loop and go on', async (t) => {
      const { channel, peer } = await meet(t);
      await peer.send(Buffer.concat([frame('one'), frame('two')]));
      for await (const message of channel) {
        assert.equal(String(message), 'one');
        break;
      }
      assert.equal(String(await channel.read()), 'two');
      await channel.write(Buffer.from('x'));
      assert.equal(String(await peer.readFrame()), 'x');
    });

    // Covers SES-5, SES-31.
    it('is disposed of by closing', { skip: !Symbol.asyncDispose }, async (t) => {
      const { channel, peer } = await meet(t);
      await channel.write(Buffer.from('last'));
      const closing = channel[Symbol.asyncDispose]();
      assert.deepEqual(await peer.readAll(), Buffer.concat([frame('last'), CLOSE_FRAME]));
      await Promise.all([peer.destroy(), closing]);
      assert.equal(channel.endReason, 'local');
    });

    // Covers ERR-1.
    it('refuses a signal that is none', async (t) => {
      const { channel } = await meet(t);
      const signal = /** @type {any} */ ('now');
      await assert.rejects(channel.read({ signal }), { code: 'bad-option' });
      await assert.rejects(channel.write(Buffer.from('x'), { signal }), { code: 'bad-option' });
    });
  });
}
