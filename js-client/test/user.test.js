import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';

import { whyNotOurs } from '../lib/user.js';

// Covers RDV-21.
test('our own user is ours, and others are not', () => {
  const user = BigInt(/** @type {() => number} */ (process.geteuid)());
  assert.equal(whyNotOurs(user), null);
  assert.match(String(whyNotOurs(user + 1n)), /belongs to user/);
});

// Covers RDV-38.
test('RDV-38: a user who is not mapped is not ours', (t) => {
  const module = new URL('../lib/user.js', import.meta.url).href;
  const code = `const { whyNotOurs } = await import(${JSON.stringify(module)});
    console.log(whyNotOurs(BigInt(process.geteuid())));`;
  const command = [process.execPath, '--input-type=module', '-e', code];
  const done = spawnSync('unshare', ['--user', ...command], { encoding: 'utf8' });
  if (done.error || /unshare/.test(done.stderr)) {
    t.skip(`NOT TESTED: no user namespace can be made: ${done.error ?? done.stderr}`);
    return;
  }
  assert.match(done.stdout, /stands for every user/);
});
