import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';

import { whyNotOurs, whyNotTrusted } from '../lib/user.js';

// Covers RDV-21.
test('our own user is ours, and others are not', () => {
  const user = BigInt(/** @type {() => number} */ (process.geteuid)());
  assert.equal(whyNotOurs(user), null);
  assert.match(String(whyNotOurs(user + 1n)), /belongs to user/);
});

// Covers RDV-65.
test('our own user, root and the allowed users are trusted, and others are not', () => {
  const user = BigInt(/** @type {() => number} */ (process.geteuid)());
  for (const each of [user, 0n, 12345n]) assert.equal(whyNotTrusted(each, [12345]), null);
  assert.match(
    String(whyNotTrusted(12346n, [12345])),
    /belongs to user 12346, not to user .* or root/,
  );
  assert.match(String(whyNotTrusted(12345n, [])), /add it to allowedUsers$/);
});

// Covers RDV-38.
test('RDV-38: a user that the namespace does not map is not ours', (t) => {
  const module = new URL('../lib/user.js', import.meta.url).href;
  const code = `const { whyNotOurs, whyNotTrusted } = await import(${JSON.stringify(module)});
    const user = process.geteuid();
    console.log(whyNotOurs(BigInt(user)));
    console.log(whyNotTrusted(BigInt(user), [user]));`;
  const command = [process.execPath, '--input-type=module', '-e', code];
  const done = spawnSync('unshare', ['--user', ...command], { encoding: 'utf8' });
  if (done.error || /unshare/.test(done.stderr)) {
    t.skip(`NOT TESTED: no user namespace can be made: ${done.error ?? done.stderr}`);
    return;
  }
  assert.match(done.stdout, /^(.*stands for every user.*\n){2}$/);
});
