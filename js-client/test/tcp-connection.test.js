import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { CLOSE_FRAME, frame, meetOverTCP, pattern, turn } from '../testing/rig.js';

describe('a session over TCP', () => {
  it('ends our direction at close and waits for the peer to end its own', async (t) => {
    const { channel, peer } = await meetOverTCP(t, { linger: 60_000 });
    let closed = false;
    const closing = channel.close().then(() => {
      closed = true;
    });
    assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
    await peer.send(pattern(100_000)); // thrown away, but taken
    await turn();
    assert.equal(closed, false);
    await peer.endWriting();
    await closing;
  });

  it('does not wait long for a peer whose close frame it has seen', async (t) => {
    const { channel, peer } = await meetOverTCP(t, { linger: Infinity });
    await peer.send(CLOSE_FRAME);
    assert.equal(await channel.read(), null);
    await channel.close();
  });

  it('waits no longer than the linger for a peer that stays', async (t) => {
    const { channel, peer } = await meetOverTCP(t, { linger: 50 });
    await channel.close();
    assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
  });

  it('reports a reset that came together with data', async (t) => {
    for (let round = 0; round < 20; round += 1) {
      const { channel, peer } = await meetOverTCP(t);
      await peer.send(frame('last'));
      peer.reset();
      assert.equal(String(await channel.read()), 'last');
      await assert.rejects(channel.read(), { code: 'reset' });
    }
  });

  it('calls an end an end while a write of ours waits', async (t) => {
    const { channel, peer } = await meetOverTCP(t);
    const write = channel.write(pattern(32 * 1024 * 1024));
    await peer.endWriting();
    assert.equal(await channel.read(), null);
    assert.equal(channel.endReason, 'eof');
    assert.equal((await peer.readFrame()).length, 32 * 1024 * 1024);
    await write;
  });
});
