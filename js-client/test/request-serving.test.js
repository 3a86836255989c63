import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';

import { RequestChannel, RequestError, serve } from '../index.js';
import { framed, gate, told, twoEnds, UNSERVED, untilAborted } from '../testing/requests.js';
import { CLOSE_FRAME, meetOverUnix, pattern } from '../testing/rig.js';
import { turn, until } from '../testing/wait.js';

const MIB = 2 ** 20;

describe('serve', () => {
  // Covers REQ-11.
  it('reads on while large answers and large calls cross', async (t) => {
    const ends = (await twoEnds(t)).map((channel) => new RequestChannel(channel));
    const serving = ends.map((end) => end.serve((payload) => Buffer.from(payload).reverse()));
    const payload = pattern(3 * MIB);
    const expected = Buffer.from(payload).reverse();
    const calls = ends.flatMap((end) => Array.from({ length: 8 }, () => end.call(payload)));
    for (const answer of await Promise.all(calls)) assert.ok(answer.equals(expected));
    assert.equal(serving.length, 2);
  });

  // Covers REQ-11, REQ-13.
  it('reads on while its answers wait for the caller to read', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    const cancelled = gate();
    const serving = serve(channel, async (payload, { signal }) => {
      if (payload.length === 0) return Buffer.alloc(4 * MIB, 'x');
      await untilAborted(signal).catch(cancelled.open);
      return payload;
    });
    await peer.send(Buffer.concat([framed('request', 1), framed('request', 2, 'w')]));
    await until(() => inspect(channel).includes('unsentMessages: 1'), 'an answer that waits');
    await peer.send(framed('cancel', 2));
    const reason = await cancelled.opened;
    assert.deepEqual([reason.code, reason instanceof RequestError], ['cancelled', true]);
    assert.equal((await told(peer))[2].length, 4 * MIB);
    assert.deepEqual(await told(peer), ['answer', 2, 'w']);
    await peer.send(CLOSE_FRAME);
    await serving;
  });

  // Covers REQ-7.
  it('answers busy above the number of requests that it takes', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    const { open, opened } = gate();
    void serve(channel, () => opened, { maxOpen: 2, concurrency: 1 });
    await peer.send(Buffer.concat([1, 2, 3].map((id) => framed('request', id))));
    assert.deepEqual(await told(peer), ['error', 3, 'busy:2 requests are not answered yet']);
    open(Buffer.from('ok'));
    assert.deepEqual(await told(peer), ['answer', 1, 'ok']);
    assert.deepEqual(await told(peer), ['answer', 2, 'ok']);
    await peer.send(framed('request', 3));
    assert.deepEqual(await told(peer), ['answer', 3, 'ok']);
  });

  // Beyond the specification: concurrency.
  it('runs as many handlers at once as it may', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    const gates = [gate(), gate(), gate()];
    /** @type {number[]} */
    const begun = [];
    void serve(
      channel,
      async ([index]) => {
        begun.push(index);
        return gates[index].opened;
      },
      { concurrency: 2 },
    );
    await peer.send(Buffer.concat([0, 1, 2].map((id) => framed('request', id, Buffer.from([id])))));
    await until(() => begun.length > 0, 'the first handler');
    assert.deepEqual(begun, [0, 1]);
    gates[1].open(Buffer.from('b'));
    assert.deepEqual(await told(peer), ['answer', 1, 'b']);
    gates[2].open(Buffer.from('c'));
    assert.deepEqual(await told(peer), ['answer', 2, 'c']);
    gates[0].open(Buffer.from('a'));
    assert.deepEqual(await told(peer), ['answer', 0, 'a']);
  });

  // Covers REQ-9.
  it('answers with an error if the handler fails in whatever way', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    /** @type {(() => any)[]} */
    const handlers = [
      () => 'text',
      () => undefined,
      async () => Promise.reject(new Error('no')),
      () => {
        throw null;
      },
      () => {
        throw Object.create(null);
      },
      () =>
        new Proxy(
          {},
          {
            get() {
              throw new Error('no');
            },
          },
        ),
      () => {
        throw Object.assign(new RequestError('e', 'text'), { code: 'No Code' });
      },
    ];
    void serve(channel, ([index]) => handlers[index]());
    for (const id of handlers.keys()) {
      await peer.send(framed('request', id, Buffer.from([id])));
      const [kind, answered, text] = await told(peer);
      assert.deepEqual([kind, answered, text.split(':')[0]], ['error', id, 'failed']);
      if (id === 0) assert.match(text, /an answer must be .* not a string/);
      if (id === 2) assert.equal(text, 'failed:no');
    }
  });

  // Covers REQ-13.
  it('answers cancelled if a handler fails after a cancel, with the signal made late', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    const { open, opened } = gate();
    void serve(channel, async (_, context) => {
      await opened;
      context.signal.throwIfAborted();
      throw new Error('in vain');
    });
    await peer.send(Buffer.concat([framed('request', 1), framed('cancel', 1)]));
    // The cancel has been taken once a later request is answered.
    await peer.send(Buffer.concat([framed('request', 2), framed('cancel', 9)]));
    await until(() => inspect(channel).includes('unreadMessages: 0'), 'the cancel');
    await turn();
    open();
    assert.deepEqual(await told(peer), [
      'error',
      1,
      'cancelled:the caller has cancelled the request',
    ]);
    assert.deepEqual(await told(peer), ['error', 2, 'failed:in vain']);
  });

  // Covers REQ-8.
  it('gets the requests that arrived before it was called', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    await peer.send(framed('request', 1, 'early'));
    await until(() => inspect(channel).includes('unreadMessages: 1'), 'the request');
    const requests = new RequestChannel(channel);
    void requests.serve((payload) => payload);
    void requests.call(Buffer.from('a')).catch(() => {});
    assert.deepEqual(await told(peer), ['answer', 1, 'early']);
    assert.deepEqual(await told(peer), ['request', 1, 'a']);
  });

  // Covers REQ-8.
  it('gets the requests that arrived together with the answer of the call before it', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    const requests = new RequestChannel(channel);
    const hello = requests.call(Buffer.from('hello'));
    assert.deepEqual(await told(peer), ['request', 1, 'hello']);
    await peer.send(Buffer.concat([framed('answer', 1), framed('request', 1, 'first')]));
    await hello;
    void requests.serve((payload) => payload);
    assert.deepEqual(await told(peer), ['answer', 1, 'first']);
    await assert.rejects(
      requests.serve(() => Buffer.alloc(0)),
      { code: 'bad-option', message: /serves already/ },
    );
  });

  // Covers REQ-6, REQ-8.
  it('stops at its signal, answers what it has begun, and nothing later', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    const requests = new RequestChannel(channel);
    const controller = new AbortController();
    const { signal } = controller;
    const begun = gate();
    const serving = requests.serve(
      async (_, { signal: own }) => {
        begun.open();
        return untilAborted(own).then(() => Buffer.alloc(0));
      },
      { signal, concurrency: 1 },
    );
    await peer.send(Buffer.concat([framed('request', 1), framed('request', 2)]));
    await begun.opened;
    const reason = new Error('enough');
    controller.abort(reason);
    await assert.rejects(serving, reason);
    assert.deepEqual(await told(peer), ['error', 2, UNSERVED]);
    assert.deepEqual(await told(peer), ['error', 1, 'cancelled:enough']);
    await assert.rejects(
      requests.serve(() => Buffer.alloc(0), { signal }),
      reason,
    );
    const call = requests.call(Buffer.from('a'));
    await peer.send(framed('request', 3));
    assert.deepEqual(await told(peer), ['request', 1, 'a']);
    assert.deepEqual(await told(peer), ['error', 3, UNSERVED]);
    await peer.send(framed('answer', 1));
    await call;
  });

  // Covers REQ-11.
  it('reads no more from a caller that breaks REQ-7 and reads nothing', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    let handled = 0;
    void serve(channel, (payload) => {
      handled += 1;
      return payload;
    });
    const count = 100_000;
    const all = Array.from({ length: count }, (_, id) => framed('request', id, 'x'.repeat(32)));
    void peer.send(Buffer.concat(all));
    // Nothing is to happen any more, although most requests were not read.
    for (let before = -1; handled === 0 || before !== handled; ) {
      before = handled;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    assert.ok(handled < count, String(handled));
    for (let id = 0; id < count; id += 1) {
      const [kind, answered] = await told(peer);
      if (kind !== 'answer' || answered !== id) assert.fail(`${kind} ${answered}, not ${id}`);
    }
    assert.equal(handled, count);
  });
});
