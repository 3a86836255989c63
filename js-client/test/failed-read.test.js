import assert from 'node:assert/strict';
import { it } from 'node:test';

import { NAMED_PIPE } from '../lib/pipe-address.js';
import { Session } from '../lib/session.js';
import { TCP } from '../lib/tcp-address.js';
import { UNIX } from '../lib/unix-address.js';
import { CLOSE_FRAME, frame } from '../testing/rig.js';

/**
 * A session over a stream whose next read fails, and what it sends.
 *
 * @param {import('../lib/transports.js').Transport} transport
 */
function sessionWithFailedRead(transport) {
  /** @type {Buffer[]} */
  const sent = [];
  const cause = Object.assign(new Error('EIO'), { code: 'EIO' });
  const stream = {
    /** @param {import('../lib/stream.js').Handler} handler */
    start(handler) {
      setImmediate(() => handler.onError(cause));
    },
    /**
     * @param {Buffer} bytes
     * @param {(error: Error | null) => void} done
     */
    write(bytes, done) {
      sent.push(Buffer.from(bytes));
      setImmediate(done, null);
    },
    unsent: 0,
    resume() {},
    isAcknowledged: async () => true,
    shutdown() {},
    abortWrite() {},
    setReferenced() {},
    destroy: async () => {},
  };
  const session = new Session(transport, stream, { maxMessageSize: 100, linger: 1000 });
  return { session, sent };
}

for (const transport of [TCP, UNIX]) {
  // Covers SES-5, SES-26, SES-36.
  it(`a read over ${transport.name} that fails otherwise ends both directions`, async () => {
    const { session, sent } = sessionWithFailedRead(transport);
    await assert.rejects(session.read(undefined), { code: 'reset', message: /EIO/ });
    await assert.rejects(session.write(Buffer.from('x'), undefined), { code: 'reset' });
    assert.equal(session.endReason, 'reset');
    await session.close();
    assert.deepEqual(sent, []);
  });
}

// Covers SES-5, SES-31.
it('a read over named pipes that fails otherwise leaves the other pipe as it was', async () => {
  const { session, sent } = sessionWithFailedRead(NAMED_PIPE);
  await assert.rejects(session.read(undefined), { code: 'reset', message: /EIO/ });
  await session.write(Buffer.from('x'), undefined);
  assert.equal(session.endReason, 'reset');
  await session.close();
  assert.deepEqual(Buffer.concat(sent), Buffer.concat([frame('x'), CLOSE_FRAME]));
});
