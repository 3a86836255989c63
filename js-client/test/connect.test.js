import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Channel, connect, connectFromEnv } from '../index.js';
import { casesOf } from '../testing/vectors.js';

describe('connect', () => {
  // Covers RDV-1, RDV-2, RDV-3, RDV-4, RDV-5, RDV-11.
  it('refuses every rendezvous that the vectors refuse, without waiting', async () => {
    for (const { in: inPath, out: outPath, error } of casesOf('rendezvous.json')) {
      if (!error) continue;
      await assert.rejects(connect({ inPath, outPath, timeout: Infinity }), { code: error });
    }
  });

  // Covers ERR-1.
  it('refuses options that are out of range', async () => {
    const paths = { inPath: '/nowhere/in', outPath: '/nowhere/out' };
    for (const options of [{ timeout: -1 }, { linger: NaN }, { maxMessageSize: 0 }]) {
      await assert.rejects(connect({ ...paths, ...options }), { code: 'bad-option' });
    }
    await assert.rejects(connect(/** @type {any} */ ({})), { code: 'bad-rendezvous' });
  });

  // Beyond the specification: a signal that is aborted before the call.
  it('does not begin under a signal that is aborted already', async () => {
    const paths = { inPath: '/nowhere/in', outPath: '/nowhere/out' };
    await assert.rejects(connect({ ...paths, signal: AbortSignal.abort() }), {
      name: 'AbortError',
    });
  });

  // Covers RDV-8, RDV-9.
  it('takes the rendezvous from the environment', async (t) => {
    const { IPC_CHANNEL_IN: oldIn, IPC_CHANNEL_OUT: oldOut } = process.env;
    t.after(() => Object.assign(process.env, { IPC_CHANNEL_IN: oldIn, IPC_CHANNEL_OUT: oldOut }));
    delete process.env.IPC_CHANNEL_IN;
    await assert.rejects(connectFromEnv(), { code: 'bad-rendezvous', message: /IPC_CHANNEL_IN/ });
    Object.assign(process.env, { IPC_CHANNEL_IN: '/nowhere/in', IPC_CHANNEL_OUT: '/nowhere/out' });
    await assert.rejects(connectFromEnv({ timeout: 0 }), { code: 'timeout' });
  });

  // Beyond the specification: what the package exports.
  it('is where channels come from', () => {
    assert.equal(typeof Channel, 'function');
  });
});
