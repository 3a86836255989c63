// A child that inherited the descriptors of a channel would keep its session open after our end.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';

import { frame, TRANSPORTS } from '../testing/rig.js';

/**
 * What the descriptors of a program lead to if it is started now. It answers through a file, because its
 * standard output would otherwise be a socket.
 *
 * @param {import('node:test').TestContext} t
 */
function heldByAChild(t) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'ipc-channel-test-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const answer = path.join(directory, 'answer');
  const fd = fs.openSync(answer, 'w');
  const looking = ['/proc/self/fd', '-type', 'l', '-printf', '%l\\n'];
  spawnSync('find', looking, { stdio: ['ignore', fd, 'ignore'] });
  fs.closeSync(fd);
  return fs.readFileSync(answer, 'utf8').trim().split('\n');
}

for (const { name, meet } of TRANSPORTS) {
  describe(`a child beside ${name}`, { skip: !fs.existsSync('/proc/self/fd') }, () => {
    // Beyond the specification: a child process cannot keep the session open.
    it('inherits nothing of the channel', async (t) => {
      const { channel, peer } = await meet(t);
      await peer.send(frame('x'));
      assert.equal(String(await channel.read()), 'x');
      const held = heldByAChild(t);
      assert.ok(held.includes('/dev/null'), `${held}`);
      assert.deepEqual(
        held.filter((to) => /^socket:|\/(in|out)$/.test(to)),
        [],
      );
    });
  });
}
