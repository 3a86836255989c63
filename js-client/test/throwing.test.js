// If user code throws in the middle of our work, nothing is left behind and nothing is lost.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import { startHelper } from '../testing/process.js';
import { CLOSE_FRAME, frame, listen, openDescriptors, Peer, TRANSPORTS } from '../testing/rig.js';
import { turn } from '../testing/wait.js';

/** A signal that the caller implements, and of which a function throws. */
function brokenSignal() {
  const broken = () => {
    throw new Error('broken signal');
  };
  return /** @type {any} */ ({
    aborted: false,
    addEventListener: broken,
    removeEventListener: broken,
  });
}

describe('a signal that cannot be listened to', () => {
  for (const { name, meet } of TRANSPORTS) {
    // Beyond the specification: a signal with functions that throw.
    it(`leaves no read and no write behind over ${name}`, async (t) => {
      const { channel, peer } = await meet(t);
      const signal = brokenSignal();
      await assert.rejects(channel.read({ signal }), /broken signal/);
      await assert.rejects(channel.write(Buffer.from('lost'), { signal }), /broken signal/);
      await peer.send(frame('for the next read'));
      assert.equal(String(await channel.read()), 'for the next read');
      await channel.write(Buffer.from('sent'));
      assert.equal(String(await peer.readFrame()), 'sent');
    });
  }

  // Covers RDV-10.
  it('leaves nothing open when it is given to connect', async (t) => {
    const { address } = await listen(t);
    const before = await openDescriptors();
    for (const where of [address, '/nowhere']) {
      const paths = where === address ? [address, address] : [`${where}/in`, `${where}/out`];
      const options = { inPath: paths[0], outPath: paths[1], signal: brokenSignal() };
      await assert.rejects(connect(options), /broken signal/);
    }
    assert.equal(await openDescriptors(), before);
  });
});

for (const program of ['listener', 'signal', 'data']) {
  // Beyond the specification: a program whose own callbacks throw.
  it(`a program goes on although its ${program} throws`, async (t) => {
    const { server, address } = await listen(t);
    const accepted = once(server, 'connection');
    const rendezvous = { inPath: address, outPath: address };
    const { ended, said } = startHelper(t, `testing/programs/throwing-${program}.js`, rendezvous);
    const [socket] = await accepted;
    const peer = new Peer(socket, socket);
    t.after(() => peer.destroy());
    await said('waiting');
    await peer.send(Buffer.concat([frame('one'), frame('two'), CLOSE_FRAME]));
    await turn();
    await peer.endWriting();
    const { code, output, errors } = await ended;
    assert.equal(errors, '');
    assert.equal(code, 0);
    assert.match(output, /uncaught: thrown/);
    assert.match(output, program === 'data' ? /one\n.*ended: local/s : /one\ntwo\nnull\n/);
  });
}
