import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';

import { onAbort, throwIfAborted } from '../lib/abort.js';
import { meetOverPipes } from '../testing/rig.js';

describe('abort', () => {
  // Beyond the specification: how an abort is reported.
  it('throws an AbortError with the reason as its cause', () => {
    throwIfAborted(undefined);
    throwIfAborted(new AbortController().signal);
    assert.throws(() => throwIfAborted(AbortSignal.abort('why')), {
      name: 'AbortError',
      cause: 'why',
    });
  });

  // Beyond the specification: what listening to a signal leaves behind.
  it('does not call a listener that was taken off', () => {
    const controller = new AbortController();
    onAbort(controller.signal, () => assert.fail())();
    onAbort(undefined, () => assert.fail())();
    controller.abort();
  });

  // Beyond the specification: what listening to a signal leaves behind.
  it('notifies all calls that wait on a signal through one listener', async (t) => {
    const { signal, controller } = newSignal();
    const warned = t.mock.method(process, 'emitWarning', () => {});
    const calls = Array.from({ length: 20 }, () => t.mock.fn());
    const releases = calls.map((call) => onAbort(signal, call));
    releases[3]?.();
    assert.equal(getEventListeners(signal, 'abort').length, 1);
    controller.abort('why');
    const counts = calls.map((call) => call.mock.callCount());
    assert.deepEqual(counts, [1, 1, 1, 0, ...Array(16).fill(1)]);
    for (const release of releases) release();
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    assert.equal(warned.mock.callCount(), 0);
  });

  // Beyond the specification: a signal that is used again.
  it('listens anew after all waiting calls have gone', () => {
    const { signal, controller } = newSignal();
    onAbort(signal, () => assert.fail())();
    let called = 0;
    onAbort(signal, () => {
      called += 1;
    });
    controller.abort();
    assert.equal(called, 1);
  });

  // Beyond the specification: what calls leave behind on a signal.
  it('leaves no listener on a signal that outlives the calls', async (t) => {
    const { channel, peer } = await meetOverPipes(t);
    const { signal } = new AbortController();
    for (let round = 0; round < 30; round += 1) {
      const read = channel.read({ signal });
      await peer.send(Buffer.from('0000000161', 'hex'));
      await read;
      await channel.write(Buffer.from('x'), { signal });
    }
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });
});

function newSignal() {
  const controller = new AbortController();
  return { controller, signal: controller.signal };
}
