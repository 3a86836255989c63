import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Deadline, Missed, retry } from '../lib/retry.js';

const WHY = new Error('why');
const MISSED = new Missed('it is not there', WHY);

describe('retry', () => {
  // Covers RDV-9.
  it('tries exactly once with timeout 0', async () => {
    /** @type {boolean[]} */
    const tries = [];
    const attempt = (/** @type {boolean} */ last) => {
      tries.push(last);
      return MISSED;
    };
    await assert.rejects(retry(attempt, new Deadline(0), undefined), {
      code: 'timeout',
      message: 'no server is there: it is not there',
      cause: WHY,
    });
    assert.deepEqual(tries, [true]);
  });

  // Covers RDV-9.
  it('tries until it succeeds', async () => {
    const there = {};
    let tries = 0;
    const attempt = () => {
      tries += 1;
      return tries === 4 ? there : MISSED;
    };
    assert.equal(await retry(attempt, new Deadline(Infinity), undefined), there);
  });

  // Covers RDV-9.
  it('tries a last time at the deadline, never before', async () => {
    const start = performance.now();
    let lastAt = 0;
    const attempt = (/** @type {boolean} */ last) => {
      if (last) lastAt = performance.now() - start;
      return MISSED;
    };
    await assert.rejects(retry(attempt, new Deadline(25), undefined), {
      code: 'timeout',
      message: 'no server came within 25 ms: it is not there',
    });
    assert.ok(lastAt >= 25, `${lastAt}`);
  });

  // Covers RDV-12.
  it('pauses for longer and longer, up to 20 ms', async (t) => {
    /** @type {number[]} */
    const pauses = [];
    const there = {};
    const attempt = () => (pauses.length === 7 ? there : MISSED);
    t.mock.method(
      globalThis,
      'setTimeout',
      (/** @type {() => void} */ resume, /** @type {number} */ pause) => {
        pauses.push(pause);
        setImmediate(resume);
      },
    );
    await retry(attempt, new Deadline(Infinity), undefined);
    assert.deepEqual(pauses, [1, 2, 4, 8, 16, 20, 20]);
  });

  // Beyond the specification: an error ends the attempt.
  it('passes on what an attempt throws', async () => {
    const attempt = () => {
      throw new Error('never');
    };
    await assert.rejects(retry(attempt, new Deadline(1000), undefined), /never/);
  });

  // Beyond the specification: an abort ends the attempt.
  it('ends at an abort, also in a pause', async () => {
    const controller = new AbortController();
    let tries = 0;
    const attempt = () => {
      tries += 1;
      if (tries === 3) setImmediate(() => controller.abort());
      return MISSED;
    };
    const retrying = retry(attempt, new Deadline(Infinity), controller.signal);
    await assert.rejects(retrying, { name: 'AbortError' });
  });
});
