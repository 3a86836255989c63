import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';

import { OVER, overTCP } from '../testing/helpers.js';
import { framed, told, UNSERVED } from '../testing/requests.js';
import { CLOSE_FRAME, frame } from '../testing/rig.js';

const PROGRAM = 'testing/programs/requests.js';

for (const [name, start] of OVER) {
  describe(`a process with requests over ${name}`, () => {
    // Beyond the specification: a call keeps the process alive, and an idle channel does not.
    it('ends by itself after a call', async (t) => {
      const { peer, ended } = await start(t, PROGRAM, 'calls');
      assert.deepEqual(await told(peer), ['request', 1, 'hello']);
      await peer.send(framed('answer', 1, 'good day'));
      const { code, output, errors } = await ended;
      assert.deepEqual([code, output, errors], [0, 'good day\n', '']);
    });

    // Covers REQ-12.
    it('ends by itself after a call that it has given up', async (t) => {
      const { peer, ended } = await start(t, PROGRAM, 'gives-up');
      assert.deepEqual(await told(peer), ['request', 1, 'hello']);
      assert.deepEqual(await told(peer), ['cancel', 1, '']);
      const { code, output } = await ended;
      assert.deepEqual([code, output], [0, 'timeout\n']);
    });

    // Beyond the specification: what keeps the process alive.
    it('ends by itself when it has stopped serving', async (t) => {
      const { peer, ended } = await start(t, PROGRAM, 'stops-serving');
      assert.deepEqual(await told(peer), ['request', 1, 'hello']);
      await peer.send(Buffer.concat([framed('request', 1), framed('answer', 1)]));
      assert.deepEqual(await told(peer), ['answer', 1, 'hello']);
      const { code, output } = await ended;
      assert.deepEqual([code, output], [0, 'AbortError\n']);
    });

    // Beyond the specification: the example works.
    it('answers with digests', async (t) => {
      const { peer, ended } = await start(t, 'examples/digest-requests.js');
      const digest = createHash('sha256').update('abc').digest('hex');
      for (const id of [1, 2]) {
        await peer.send(framed('request', id, 'abc'));
        assert.deepEqual(await told(peer), ['answer', id, digest]);
      }
      await peer.send(CLOSE_FRAME);
      await peer.endWriting();
      const { code, errors } = await ended;
      assert.deepEqual([code, errors], [0, '']);
    });
  });
}

describe('a helper with requests', () => {
  // Covers REQ-6.
  it('finishes the request in hand at a signal, and serves no other', async (t) => {
    const { peer, child, ended, said } = await overTCP(t, PROGRAM, 'helper');
    await peer.send(framed('request', 7, 'in hand'));
    assert.deepEqual(await told(peer), ['request', 1, 'in hand']);
    await peer.send(framed('request', 8, 'waits'));
    child.kill('SIGTERM');
    assert.deepEqual(await told(peer), ['error', 8, UNSERVED]);
    await peer.send(framed('request', 9, 'late'));
    assert.deepEqual(await told(peer), ['error', 9, UNSERVED]);
    await peer.send(framed('answer', 1, 'done'));
    assert.deepEqual(await told(peer), ['answer', 7, 'done']);
    await said('served');
    assert.deepEqual(await peer.readFrame(), Buffer.alloc(0));
    await peer.endWriting();
    const { code, errors } = await ended;
    assert.deepEqual([code, errors], [0, '']);
  });

  // Covers REQ-16.
  it('ends its handlers when the service has gone', async (t) => {
    const { peer, ended, said } = await overTCP(t, PROGRAM, 'heeds');
    await peer.send(framed('request', 1));
    await said('handling');
    await peer.endWriting();
    assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
    const { code, output, errors } = await ended;
    assert.deepEqual([code, output, errors], [0, 'handling\nunanswered\n', '']);
  });

  // Covers REQ-4.
  it('says what is wrong with a service that does not use requests', async (t) => {
    const { peer, ended } = await overTCP(t, PROGRAM, 'heeds');
    await peer.send(frame('hello world'));
    assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
    await peer.endWriting();
    const { code, errors } = await ended;
    assert.equal(code, 1);
    assert.match(
      errors,
      /^requests: bad-message: the peer has sent a message of the unknown kind 0x68: /,
    );
  });
});
