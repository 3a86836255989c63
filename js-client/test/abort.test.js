import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, it } from 'node:test';

import { onAbort, throwIfAborted } from '../lib/abort.js';
import { meetOverPipes } from '../testing/rig.js';

describe('abort', () => {
  it('throws an AbortError whose cause is the reason', () => {
    throwIfAborted(undefined);
    throwIfAborted(new AbortController().signal);
    assert.throws(() => throwIfAborted(AbortSignal.abort('why')), {
      name: 'AbortError',
      cause: 'why',
    });
  });

  it('does not call a listener that was taken off', () => {
    const controller = new AbortController();
    onAbort(controller.signal, () => assert.fail())();
    onAbort(undefined, () => assert.fail())();
    controller.abort();
  });

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
