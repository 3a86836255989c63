import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';

import { CLOSE_FRAME, frame, meetOverPipes, meetOverTCP } from '../testing/rig.js';
import { turn, until } from '../testing/wait.js';

describe('inspect', () => {
  // Beyond the specification: what a debugger shows of a channel.
  it('shows the state of a channel over TCP', async (t) => {
    const { channel, peer } = await meetOverTCP(t, { maxMessageSize: 1000, linger: 50 });
    assert.match(inspect(channel), /^Channel \{/);
    const shown = () => inspect(channel, { breakLength: Infinity });
    assert.match(
      shown(),
      /state: 'connected', endReason: null, unreadMessages: 0, waitingReads: 0, unsentMessages: 0/,
    );
    assert.match(shown(), /maxMessageSize: 1000, linger: 50, transport: 'tcp', host: '127.0.0.1'/);
    assert.equal(inspect([channel], { depth: 0 }), '[ [Channel] ]');
    const read = channel.read();
    await turn();
    assert.match(shown(), /waitingReads: 1/);
    await peer.send(Buffer.concat([frame('a'), frame('b'), frame('c')]));
    await read;
    await until(() => shown().includes('unreadMessages: 2'), 'two unread messages');
    await Promise.all([channel.read(), channel.read(), peer.send(CLOSE_FRAME)]);
    await channel.read();
    assert.match(shown(), /state: 'ended', endReason: 'clean'/);
    const closing = channel.close();
    assert.match(shown(), /state: 'closing', endReason: 'clean'/);
    await closing;
    assert.match(shown(), /state: 'closed', endReason: 'clean'/);
  });

  // Beyond the specification: what a debugger shows of a channel.
  it('shows the paths and what is unsent', async (t) => {
    const { channel, peer } = await meetOverPipes(t);
    const writes = [1, 2].map(() => channel.write(Buffer.alloc(2 ** 24)).catch(() => {}));
    await turn();
    assert.match(inspect(channel), /unsentMessages: 2/);
    assert.match(
      inspect(channel),
      /transport: 'named_pipe',\s+inPath: '.*\/in',\s+outPath: '.*\/out'/,
    );
    await peer.destroy();
    await Promise.all(writes);
  });
});
