import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';

import { reset } from '../lib/end.js';
import { Inbox } from '../lib/inbox.js';
import { Queue } from '../lib/queue.js';
import { SessionState } from '../lib/session-state.js';
import { CLOSE_FRAME, frame, pattern, TRANSPORTS } from '../testing/rig.js';
import { turn } from '../testing/wait.js';

const MIB = 1024 * 1024;

function newInbox() {
  /** @type {Queue<Buffer>} */
  const messages = new Queue();
  const state = new SessionState(messages);
  const inbox = new Inbox(messages, state, () => {});
  /** @type {(...event: Parameters<SessionState['on']>) => void} */
  const end = (...event) => {
    state.on(...event);
    inbox.wakeReaders(/** @type {import('../lib/end.js').End} */ (state.end));
  };
  return { inbox, state, end };
}

describe('inbox', () => {
  // Covers SES-1, SES-2, SES-6.
  it('gives messages in order, then the end, again and again', async () => {
    const { inbox, state, end } = newInbox();
    inbox.push(Buffer.from('a'));
    inbox.push(Buffer.from('b'));
    end('end-at-boundary');
    end('close-frame');
    assert.equal(state.endReason, null);
    assert.equal(String(await inbox.read(undefined)), 'a');
    assert.equal(String(await inbox.read(undefined)), 'b');
    for (let again = 0; again < 3; again += 1) assert.equal(await inbox.read(undefined), null);
    assert.equal(state.endReason, 'eof');
  });

  // Covers SES-1.
  it('gives an error to every read that waits and to every later one', async () => {
    const { inbox, end } = newInbox();
    const waiting = [inbox.read(undefined), inbox.read(undefined)];
    end('reset-on-read', reset(new Error('why')));
    for (const read of [...waiting, inbox.read(undefined)]) {
      await assert.rejects(read, { code: 'reset' });
    }
  });

  // Beyond the specification: what an ended read leaves behind on its signal.
  it('lets the signal of a read go that it has given the end', async () => {
    const { inbox, end } = newInbox();
    const { signal } = new AbortController();
    const read = inbox.read(signal);
    assert.equal(getEventListeners(signal, 'abort').length, 1);
    end('end-at-boundary');
    assert.equal(await read, null);
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  // Covers SES-12.
  it('counts tiny messages for what they cost', () => {
    const { inbox } = newInbox();
    let count = 0;
    for (; !inbox.full; count += 1) inbox.push(Buffer.from('x'));
    assert.ok(count < 5000, String(count));
    inbox.discard();
    assert.ok(inbox.hasRoom);
    assert.equal(inbox.unread, 0);
  });

  // Beyond the specification: what aborted reads leave behind.
  it('leaves nothing behind when reads are aborted', async () => {
    const { inbox } = newInbox();
    for (let round = 0; round < 1000; round += 1) {
      const controller = new AbortController();
      const read = inbox.read(controller.signal);
      controller.abort();
      await assert.rejects(read, { name: 'AbortError', code: 'ABORT_ERR' });
    }
    assert.equal(inbox.readers, 0);
  });
});

for (const { name, meet } of TRANSPORTS) {
  describe(`reading over ${name}`, () => {
    // Covers FRM-2.
    it('puts together a frame that comes one byte per write', async (t) => {
      const { channel, peer } = await meet(t);
      for (const byte of frame('slow')) await peer.send(Buffer.from([byte]));
      assert.equal(String(await channel.read()), 'slow');
    });

    // Covers FRM-2.
    it('waits for a payload that comes later than its header', async (t) => {
      const { channel, peer } = await meet(t);
      const whole = frame('later');
      await peer.send(whole.subarray(0, 4));
      const read = channel.read();
      await new Promise((resolve) => setTimeout(resolve, 50));
      await peer.send(whole.subarray(4));
      assert.equal(String(await read), 'later');
    });

    // Covers FRM-2.
    it('takes 1,000 frames from one write, in order', async (t) => {
      const { channel, peer } = await meet(t);
      const payloads = Array.from({ length: 1000 }, (_, index) => `message ${index}`);
      await peer.send(Buffer.concat(payloads.map(frame)));
      for (const payload of payloads) assert.equal(String(await channel.read()), payload);
    });

    // Covers SES-11.
    it('gives each message to exactly one of several readers, in order of the calls', async (t) => {
      const { channel, peer } = await meet(t);
      const reads = Array.from({ length: 50 }, () => channel.read());
      await peer.send(Buffer.concat(Array.from({ length: 50 }, (_, index) => frame(`${index}`))));
      const seen = (await Promise.all(reads)).map(String);
      assert.deepEqual(
        seen,
        Array.from({ length: 50 }, (_, index) => `${index}`),
      );
    });

    // Covers SES-10.
    it('loses nothing when an idle read is aborted', async (t) => {
      const { channel, peer } = await meet(t);
      const signal = AbortSignal.timeout(10);
      await assert.rejects(channel.read({ signal }), (/** @type {any} */ error) => {
        assert.equal(error.name, 'AbortError');
        assert.equal(error.cause.name, 'TimeoutError');
        return true;
      });
      await assert.rejects(channel.read({ signal }), { name: 'AbortError' });
      await peer.send(frame('next'));
      assert.equal(String(await channel.read()), 'next');
    });

    // Covers SES-10.
    it('loses nothing when a read is aborted inside a header and inside a payload', async (t) => {
      const { channel, peer } = await meet(t);
      const whole = frame('cut here');
      for (const [from, to] of [
        [0, 2],
        [2, 7],
      ]) {
        await peer.send(whole.subarray(from, to));
        const controller = new AbortController();
        const read = channel.read({ signal: controller.signal });
        await turn();
        controller.abort();
        await assert.rejects(read, { name: 'AbortError' });
      }
      await peer.send(whole.subarray(7));
      assert.equal(String(await channel.read()), 'cut here');
    });

    // Covers SES-10.
    it('loses and repeats nothing when reads are aborted under load', async (t) => {
      const { channel, peer } = await meet(t);
      const count = 5000;
      const idle = new AbortController();
      const first = channel.read({ signal: idle.signal });
      idle.abort();
      await assert.rejects(first, { name: 'AbortError' });
      const sending = (async () => {
        for (let index = 0; index < count; index += 10) {
          const numbers = Array.from({ length: 10 }, (_, offset) => frame(`${index + offset}`));
          await peer.send(Buffer.concat(numbers));
        }
      })();
      for (let next = 0; next < count; ) {
        const controller = new AbortController();
        const read = channel.read({ signal: controller.signal });
        if (next % 3 === 0) setImmediate(() => controller.abort());
        else queueMicrotask(() => controller.abort());
        try {
          assert.equal(String(await read), `${next}`);
          next += 1;
        } catch (error) {
          assert.equal(/** @type {any} */ (error).name, 'AbortError');
          await turn();
        }
      }
      await sending;
    });

    // Covers SES-12.
    it('blocks the peer while no read takes anything, and goes on at the next reads', async (t) => {
      const { channel, peer } = await meet(t);
      const message = pattern(64 * 1024);
      const total = 64 * MIB;
      let sent = 0;
      const sending = (async () => {
        for (; sent < total; sent += message.length) await peer.send(frame(message));
        await peer.send(CLOSE_FRAME);
      })();
      const settled = await quiet(() => sent);
      // Read ahead 1 MiB, and what the kernel and the peer's own socket hold.
      assert.ok(settled < 16 * MIB, `${settled} bytes were taken`);
      let seen = 0;
      for await (const received of channel) {
        assert.ok(received.equals(message));
        seen += received.length;
      }
      assert.equal(seen, total);
      await sending;
    });
  });
}

/**
 * The value of a counter that has stopped growing.
 *
 * @param {() => number} counter
 */
async function quiet(counter) {
  for (let last = -1; ; ) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (counter() === last) return last;
    last = counter();
  }
}
