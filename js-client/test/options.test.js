import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';

import { connect, connectFromEnv } from '../lib/connect.js';
import { checkConnectOptions, checkEnvOptions, signalOf } from '../lib/options.js';

/** @param {unknown} options */
const connectWith = (options) => connect(/** @type {any} */ (options));
/** @param {unknown} options */
const connectFromEnvWith = (options) => connectFromEnv(/** @type {any} */ (options));

describe('options', () => {
  // Covers FRM-6, RDV-9, SES-50.
  it('have defaults', () => {
    const { timeout, linger, maxMessageSize, signal } = checkEnvOptions({});
    assert.deepEqual(
      [timeout, linger, maxMessageSize, signal],
      [10_000, 1000, 67_108_864, undefined],
    );
  });

  // Covers FRM-11.
  it('take what is in range', () => {
    for (const good of [0, 0.5, 1e12, Infinity]) {
      assert.equal(checkEnvOptions({ timeout: good }).timeout, good);
      assert.equal(checkEnvOptions({ linger: good }).linger, good);
    }
    for (const good of [1, 2 ** 32 - 1]) {
      assert.equal(checkEnvOptions({ maxMessageSize: good }).maxMessageSize, good);
    }
    const allowedUsers = [0, 2 ** 32 - 2];
    assert.deepEqual(checkEnvOptions({ allowedUsers }).allowedUsers, allowedUsers);
    assert.deepEqual(checkEnvOptions({ allowedUsers: undefined }).allowedUsers, []);
    const { signal } = new AbortController();
    assert.equal(checkEnvOptions({ signal }).signal, signal);
    assert.equal(checkEnvOptions({ signal: null }).signal, undefined);
    const { inPath, outPath } = checkConnectOptions({ inPath: '/in', outPath: '/out' });
    assert.deepEqual([inPath, outPath], ['/in', '/out']);
  });

  // Covers ERR-1.
  it('refuse the rest and say what it was', async () => {
    for (const bad of [-1, NaN, '5', null, 5n, true, [5], { valueOf: () => 5 }, new Date(5)]) {
      const shown = inspect(bad).replaceAll(/[[\](){}.]/g, '.');
      const error = { code: 'bad-option', message: new RegExp(shown) };
      assert.throws(() => checkEnvOptions({ timeout: bad }), error);
      assert.throws(() => checkEnvOptions({ linger: bad }), error);
    }
    for (const bad of [0, -1, 1.5, 2 ** 32, NaN, Infinity, '5', 5n, Symbol('s'), null]) {
      assert.throws(() => checkEnvOptions({ maxMessageSize: bad }), { code: 'bad-option' });
    }
    for (const bad of [
      5,
      null,
      'root',
      new Set([5]),
      [-1],
      [1.5],
      [2 ** 32 - 1],
      ['5'],
      [5n],
      [5, undefined],
    ]) {
      const message = /allowedUsers must be an array of user ids, whole numbers from 0 to 42949/;
      assert.throws(() => checkEnvOptions({ allowedUsers: bad }), { code: 'bad-option', message });
    }
    for (const bad of ['now', 5, {}, { aborted: false }, new AbortController()]) {
      const error = { code: 'bad-option', message: /must be an AbortSignal, not ./ };
      assert.throws(() => checkEnvOptions({ signal: bad }), error);
    }
    for (const bad of [undefined, null, '5000', 5, [], ['/in', '/out'], () => {}]) {
      const error = { code: 'bad-option', message: /must be an object, not ./ };
      await assert.rejects(connectWith(bad), error);
      if (bad !== undefined) await assert.rejects(connectFromEnvWith(bad), error);
    }
  });

  // Beyond the specification: a misspelt option is not ignored.
  it('refuse an unknown name, and suggest the nearest', async () => {
    for (const [name, meant] of [
      ['timout', 'timeout'],
      ['Timeout', 'timeout'],
      ['timeoutMs', 'timeout'],
      ['max_message_size', 'maxMessageSize'],
      ['maxMesageSize', 'maxMessageSize'],
      ['maxSize', 'maxMessageSize'],
      ['lingr', 'linger'],
      ['allowed_users', 'allowedUsers'],
      ['abortSignal', 'signal'],
      ['in_path', 'inPath'],
      ['out', 'outPath'],
    ]) {
      const options = { inPath: '5', outPath: '5', [name]: undefined };
      const message = new RegExp(`^connect has no option '${name}': did you mean ${meant}\\?$`);
      await assert.rejects(connectWith(options), { code: 'bad-option', message });
    }
    await assert.rejects(connectWith({ encoding: 'utf8' }), {
      code: 'bad-option',
      message: /^connect has no option 'encoding': the options are inPath, outPath, timeout, /,
    });
    await assert.rejects(connectFromEnvWith({ lingr: 5 }), {
      code: 'bad-option',
      message: "connectFromEnv has no option 'lingr': did you mean linger?",
    });
    assert.throws(() => signalOf('read', { singal: 5 }), {
      code: 'bad-option',
      message: "read has no option 'singal': did you mean signal?",
    });
  });

  // Beyond the specification: an option that connectFromEnv cannot honour.
  it('of the environment do not say where the server is', async () => {
    for (const name of ['inPath', 'outPath']) {
      await assert.rejects(connectFromEnvWith({ [name]: '5000' }), {
        code: 'bad-option',
        message: new RegExp(`does not take the option ${name}: .* use connect`),
      });
    }
  });

  // Beyond the specification: options may come from a prototype or a getter.
  it('may be inherited, and are looked at once', () => {
    let looks = 0;
    const defaults = {
      get timeout() {
        looks += 1;
        return 5;
      },
    };
    assert.equal(checkEnvOptions(Object.create(defaults)).timeout, 5);
    assert.equal(looks, 1);
    assert.throws(() => checkEnvOptions(Object.create({ timout: 5 })), { code: 'bad-option' });
  });
});
