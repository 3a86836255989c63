import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Deadline, retry } from '../lib/retry.js';

describe('retry', () => {
  it('tries exactly once with timeout 0', async () => {
    /** @type {boolean[]} */
    const tries = [];
    const attempt = (/** @type {boolean} */ last) => {
      tries.push(last);
      return null;
    };
    await assert.rejects(retry(attempt, new Deadline(0), undefined), { code: 'timeout' });
    assert.deepEqual(tries, [true]);
  });

  it('tries until it succeeds', async () => {
    let tries = 0;
    const attempt = () => {
      tries += 1;
      return tries === 4 ? 'there' : null;
    };
    assert.equal(await retry(attempt, new Deadline(Infinity), undefined), 'there');
  });

  it('tries a last time at the deadline, never before', async () => {
    const start = performance.now();
    let lastAt = 0;
    const attempt = (/** @type {boolean} */ last) => {
      if (last) lastAt = performance.now() - start;
      return null;
    };
    await assert.rejects(retry(attempt, new Deadline(25), undefined), { code: 'timeout' });
    assert.ok(lastAt >= 25, `${lastAt}`);
  });

  it('passes on what an attempt throws', async () => {
    const attempt = () => {
      throw new Error('never');
    };
    await assert.rejects(retry(attempt, new Deadline(1000), undefined), /never/);
  });

  it('ends at an abort, also in a pause', async () => {
    const controller = new AbortController();
    let tries = 0;
    const attempt = () => {
      tries += 1;
      if (tries === 3) setImmediate(() => controller.abort());
      return null;
    };
    const retrying = retry(attempt, new Deadline(Infinity), controller.signal);
    await assert.rejects(retrying, { name: 'AbortError' });
  });
});
