import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';

import { connect } from '../lib/connect.js';
import { checkOptions } from '../lib/options.js';

describe('options', () => {
  it('have defaults', () => {
    const { timeout, linger, maxMessageSize, signal } = checkOptions({});
    assert.deepEqual(
      [timeout, linger, maxMessageSize, signal],
      [10_000, 1000, 67_108_864, undefined],
    );
  });

  it('take what is in range', () => {
    for (const good of [0, 0.5, 1e12, Infinity]) {
      assert.equal(checkOptions({ timeout: good }).timeout, good);
      assert.equal(checkOptions({ linger: good }).linger, good);
    }
    for (const good of [1, 2 ** 32 - 1]) {
      assert.equal(checkOptions({ maxMessageSize: good }).maxMessageSize, good);
    }
    const { signal } = new AbortController();
    assert.equal(checkOptions({ signal }).signal, signal);
  });

  it('refuse the rest and say what it was', async () => {
    for (const bad of [-1, NaN, '5', null]) {
      const error = { code: 'bad-option', message: new RegExp(inspect(bad)) };
      assert.throws(() => checkOptions({ timeout: bad }), error);
      assert.throws(() => checkOptions({ linger: bad }), error);
    }
    for (const bad of [0, -1, 1.5, 2 ** 32, NaN, Infinity, '5', 5n, Symbol('s')]) {
      assert.throws(() => checkOptions({ maxMessageSize: bad }), { code: 'bad-option' });
    }
    for (const bad of ['now', 5, {}]) {
      assert.throws(() => checkOptions({ signal: bad }), { code: 'bad-option' });
    }
    for (const bad of [undefined, null, '5000', 5]) {
      const error = { code: 'bad-option', message: new RegExp(`an object, not ${inspect(bad)}`) };
      assert.throws(() => checkOptions(/** @type {any} */ (bad)), error);
      await assert.rejects(connect(/** @type {any} */ (bad)), error);
    }
  });
});
