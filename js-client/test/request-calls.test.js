import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';

import { RequestChannel, RequestError, serve } from '../index.js';
import { idAfter } from '../lib/caller.js';
import { framed, told } from '../testing/requests.js';
import { CLOSE_FRAME, meetOverPipes, meetOverUnix, TRANSPORTS } from '../testing/rig.js';
import { until } from '../testing/wait.js';

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * @param {TestContext} t
 * @param {{maxOpen?: number}} [options]
 */
async function meet(t, options) {
  const { channel, peer } = await meetOverUnix(t);
  return { channel, peer, requests: new RequestChannel(channel, options) };
}

describe('a call', () => {
  for (const { name, meet: meetOver } of TRANSPORTS) {
    // Covers REQ-1, REQ-5.
    it(`gets its answer over ${name}`, async (t) => {
      const { channel, peer } = await meetOver(t);
      const requests = new RequestChannel(channel);
      for (const [id, text] of /** @type {const} */ ([
        [1, 'a'],
        [2, 'b'],
      ])) {
        const answer = requests.call(Buffer.from(text));
        assert.deepEqual(await told(peer), ['request', id, text]);
        await peer.send(framed('answer', id, text.toUpperCase()));
        assert.equal(String(await answer), text.toUpperCase());
      }
    });
  }

  // Covers REQ-9.
  it('rejects with the error that the other end has chosen', async (t) => {
    const { peer, requests } = await meet(t);
    const answer = requests.call(Buffer.from('a'));
    await peer.send(framed('error', 1, '\x09not-foundno a'));
    await assert.rejects(answer, (error) => {
      assert.ok(error instanceof RequestError);
      assert.deepEqual(
        [error.name, error.code, error.message],
        ['RequestError', 'not-found', 'no a'],
      );
      return true;
    });
  });

  // Beyond the specification: the payload is copied.
  it('leaves its payload to the caller at once', async (t) => {
    const { peer, requests } = await meet(t, { maxOpen: 1 });
    const payload = Buffer.from('first');
    const answers = [requests.call(payload), requests.call(payload)];
    payload.fill('x');
    for (const [id, answer] of answers.entries()) {
      assert.deepEqual(await told(peer), ['request', id + 1, 'first']);
      await peer.send(framed('answer', id + 1));
      await answer;
    }
  });

  // Covers REQ-2.
  it('refuses a payload that is too large, and sends nothing', async (t) => {
    const { channel, peer } = await meetOverUnix(t, { maxMessageSize: 100 });
    const requests = new RequestChannel(channel);
    await assert.rejects(requests.call(Buffer.alloc(96)), {
      code: 'message-too-large',
      message: /^payload of 96 bytes exceeds the limit of 95: /,
    });
    // @ts-expect-error a string is not bytes
    await assert.rejects(requests.call('text'), {
      code: 'wrong-type',
      message: /^a payload must be .* not a string/,
    });
    void requests.call(Buffer.alloc(95, 'x')).catch(() => {});
    assert.deepEqual(await told(peer), ['request', 1, 'x'.repeat(95)]);
  });
});

describe('a call that is given up', () => {
  // Covers REQ-12.
  it('is not sent if its signal has aborted already', async (t) => {
    const { peer, requests } = await meet(t);
    const reason = new Error('why');
    const signal = AbortSignal.abort(reason);
    await assert.rejects(requests.call(Buffer.from('a'), { signal }), reason);
    void requests.call(Buffer.from('b')).catch(() => {});
    assert.deepEqual(await told(peer), ['request', 1, 'b']);
  });

  // Covers REQ-12.
  it('rejects with the reason of its signal, and leaves no listener there', async (t) => {
    const { peer, requests } = await meet(t);
    const controller = new AbortController();
    const { signal } = controller;
    const answers = ['a', 'b'].map((text) => requests.call(Buffer.from(text), { signal }));
    await peer.send(framed('answer', 2));
    await answers[1];
    const reason = new Error('why');
    controller.abort(reason);
    await assert.rejects(answers[0], reason);
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    const messages = [await told(peer), await told(peer), await told(peer)];
    assert.deepEqual(messages[2], ['cancel', 1, '']);
  });

  // Covers REQ-12.
  it('rejects with timeout, sends a cancel, and drops the late answer', async (t) => {
    const { peer, requests } = await meet(t);
    const late = requests.call(Buffer.from('a'), { timeout: 1 });
    await assert.rejects(late, { name: 'IPCChannelError', code: 'timeout', message: /1 ms/ });
    assert.deepEqual(await told(peer), ['request', 1, 'a']);
    assert.deepEqual(await told(peer), ['cancel', 1, '']);
    await peer.send(framed('answer', 1, 'late'));
    const next = requests.call(Buffer.from('b'), { timeout: 60_000 });
    await peer.send(framed('answer', 2, 'in time'));
    assert.equal(String(await next), 'in time');
  });

  // Covers REQ-12.
  it('sends one cancel, whatever ends the wait again', async (t) => {
    const { peer, requests } = await meet(t);
    const controller = new AbortController();
    const { signal } = controller;
    const answer = requests.call(Buffer.from('a'), { signal, timeout: 1 });
    await assert.rejects(answer, { code: 'timeout' });
    controller.abort();
    void requests.call(Buffer.from('b')).catch(() => {});
    const messages = [await told(peer), await told(peer), await told(peer)];
    assert.deepEqual(messages.at(-1), ['request', 2, 'b']);
  });
});

describe('a call while as many requests are open as may be', () => {
  // Covers REQ-7.
  it('waits for its turn', async (t) => {
    const { peer, requests } = await meet(t, { maxOpen: 2 });
    const answers = ['a', 'b', 'c', 'd'].map((text) => requests.call(Buffer.from(text)));
    assert.deepEqual(await told(peer), ['request', 1, 'a']);
    assert.deepEqual(await told(peer), ['request', 2, 'b']);
    await peer.send(framed('error', 2, '\x01e'));
    await assert.rejects(answers[1], { code: 'e' });
    assert.deepEqual(await told(peer), ['request', 3, 'c']);
    await peer.send(framed('answer', 3));
    assert.deepEqual(await told(peer), ['request', 4, 'd']);
    await peer.send(Buffer.concat([framed('answer', 4), framed('answer', 1)]));
    await Promise.all([answers[0], answers[2], answers[3]]);
  });

  // Covers REQ-7, REQ-12.
  it('waits for the answer of a cancelled one, too', async (t) => {
    const { peer, requests } = await meet(t, { maxOpen: 1 });
    await assert.rejects(requests.call(Buffer.from('a'), { timeout: 1 }), { code: 'timeout' });
    const next = requests.call(Buffer.from('b'));
    assert.deepEqual(await told(peer), ['request', 1, 'a']);
    assert.deepEqual(await told(peer), ['cancel', 1, '']);
    await peer.send(framed('answer', 1));
    assert.deepEqual(await told(peer), ['request', 2, 'b']);
    await peer.send(framed('answer', 2, 'ok'));
    assert.equal(String(await next), 'ok');
  });

  // Covers REQ-12.
  it('sends nothing if it is given up before its turn', async (t) => {
    const { peer, requests } = await meet(t, { maxOpen: 1 });
    const first = requests.call(Buffer.from('a'));
    await assert.rejects(requests.call(Buffer.from('b'), { timeout: 1 }), { code: 'timeout' });
    const last = requests.call(Buffer.from('c'));
    await peer.send(framed('answer', 1));
    await first;
    assert.deepEqual(await told(peer), ['request', 1, 'a']);
    assert.deepEqual(await told(peer), ['request', 2, 'c']);
    await peer.send(framed('answer', 2));
    await last;
  });
});

describe('the ids of requests', () => {
  // Covers REQ-5.
  it('go on with 0 after the largest, and leave out those of open requests', () => {
    assert.equal(idAfter(0, new Set()), 1);
    assert.equal(idAfter(2 ** 32 - 2, new Set([1])), 2 ** 32 - 1);
    assert.equal(idAfter(2 ** 32 - 1, new Set([1])), 0);
    assert.equal(idAfter(2 ** 32 - 2, new Set([2 ** 32 - 1, 0, 1, 3])), 2);
  });
});

describe('calls when the peer no longer reads', () => {
  // Covers REQ-15.
  it('fail, those too that wait for their turn', async (t) => {
    const { channel, peer } = await meetOverPipes(t);
    const requests = new RequestChannel(channel, { maxOpen: 2 });
    const open = requests.call(Buffer.from('a'));
    assert.deepEqual(await told(peer), ['request', 1, 'a']);
    peer.stopReading();
    await until(() => peer.reader.closed, 'the end of the reading');
    const fail = async (/** @type {Promise<Buffer>} */ call) =>
      assert.rejects(call, (/** @type {any} */ error) => {
        assert.deepEqual([error.code, error.cause.code], ['unanswered', 'peer-gone']);
        return true;
      });
    const both = ['b', 'c'].map((text) => requests.call(Buffer.from(text)));
    await Promise.all(both.map(fail));
    await fail(requests.call(Buffer.from('later')));
    await peer.send(framed('answer', 1, 'it was on its way'));
    assert.equal(String(await open), 'it was on its way');
  });
});

describe('a RequestChannel', () => {
  // Beyond the specification: one layer takes all messages.
  it('keeps reads and other layers from its channel', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    const controller = new AbortController();
    const read = channel.read({ signal: controller.signal });
    assert.throws(() => new RequestChannel(channel), { code: 'bad-option', message: /read/ });
    controller.abort();
    await assert.rejects(read, { name: 'AbortError' });
    const requests = new RequestChannel(channel);
    assert.throws(() => new RequestChannel(channel), { code: 'bad-option' });
    await assert.rejects(channel.read(), { code: 'bad-option', message: /call and serve/ });
    const answer = requests.call(Buffer.from('a'));
    await peer.send(framed('answer', 1, 'b'));
    assert.equal(String(await answer), 'b');
    await channel.close();
    assert.equal(await channel.read(), null);
    assert.equal(channel.endReason, 'local');
  });

  // Covers REQ-17.
  it('needs room for an error with the longest code', async (t) => {
    const small = await meetOverUnix(t, { maxMessageSize: 69 });
    const bad = {
      code: 'bad-option',
      message: 'requests need a maxMessageSize of at least 70, not 69: raise it at both ends',
    };
    assert.throws(() => new RequestChannel(small.channel), bad);
    await assert.rejects(
      serve(small.channel, (payload) => payload),
      bad,
    );
    await small.channel.close();
    assert.deepEqual(await small.peer.readAll(), CLOSE_FRAME); // nothing was sent

    const { channel, peer } = await meetOverUnix(t, { maxMessageSize: 70 });
    const code = 'x'.repeat(64);
    void serve(channel, () => Promise.reject(new RequestError(code, 'no room')));
    await peer.send(framed('request', 1));
    assert.deepEqual(await told(peer), ['error', 1, `${code}:`]);
  });

  // Beyond the specification: arguments are checked.
  it('refuses what it cannot use', async (t) => {
    const { channel } = await meetOverUnix(t);
    const bad = /** @type {any[]} */ ([{ maxOpen: 0 }, { maxOpen: 1.5 }, { maxOpne: 5 }, null]);
    for (const options of bad) {
      assert.throws(() => new RequestChannel(channel, options), { code: 'bad-option' });
    }
    // @ts-expect-error no channel
    assert.throws(() => new RequestChannel({}), { code: 'wrong-type', message: /a Channel/ });
    const requests = new RequestChannel(channel);
    const nothing = Buffer.alloc(0);
    for (const options of /** @type {any[]} */ ([{ timeout: -1 }, { signal: 5 }, { timout: 5 }])) {
      await assert.rejects(requests.call(nothing, options), { code: 'bad-option' });
    }
    for (const options of /** @type {any[]} */ ([{ concurrency: 0 }, { signal: 5 }])) {
      await assert.rejects(
        requests.serve(() => nothing, options),
        { code: 'bad-option' },
      );
    }
    // @ts-expect-error no function
    await assert.rejects(requests.serve('handler'), { code: 'wrong-type' });
    for (const code of ['', 'Upper', 'a b', 'x'.repeat(65), 'ü']) {
      assert.throws(() => new RequestError(code), { code: 'bad-option' }, code);
    }
  });
});
