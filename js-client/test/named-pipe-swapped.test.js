// A client that was given the server's strings as they are, not crossed. RDV-35
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import { makePipes, openToRead, untilRead } from '../testing/pipes.js';
import { openDescriptors } from '../testing/rig.js';
import { until } from '../testing/wait.js';

const LOCK = `
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
fcntl.flock(fd, getattr(fcntl, sys.argv[2]))
print('locked', flush=True)
sys.stdin.read()
`;

/**
 * Opens a named pipe in another process to read, with a lock, as a server does.
 *
 * @param {import('node:test').TestContext} t
 * @param {string} pipe
 * @param {'LOCK_EX' | 'LOCK_SH'} kind
 */
async function readWithLock(t, pipe, kind) {
  const child = spawn('python3', ['-c', LOCK, pipe, kind], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.stdin.end());
  let said = '';
  child.stdout.on('data', (text) => (said += text));
  await until(() => said.includes('locked'), 'the lock');
}

const isLinux = process.platform === 'linux';

describe('connecting with in and out swapped', { skip: !isLinux && 'only Linux tells' }, () => {
  // Covers RDV-10, RDV-35.
  it('is refused at once', async (t) => {
    const { inPath, outPath } = makePipes(t);
    await readWithLock(t, inPath, 'LOCK_EX');
    const before = await openDescriptors();
    await assert.rejects(connect({ inPath, outPath, timeout: Infinity }), {
      code: 'bad-rendezvous',
      message:
        /swapped, because the server itself reads from .*in: pass the server's out path as inPath and its in path as outPath/,
    });
    assert.equal(await openDescriptors(), before);
  });

  // Covers RDV-35.
  it('is refused when the server comes later', async (t) => {
    const { inPath, outPath } = makePipes(t);
    const connecting = connect({ inPath, outPath, timeout: Infinity });
    const refused = assert.rejects(connecting, { code: 'bad-rendezvous' });
    await untilRead(inPath);
    await readWithLock(t, inPath, 'LOCK_EX');
    await refused;
  });

  // Covers RDV-9, RDV-35.
  it('is not concluded from another reader or a shared lock', async (t) => {
    const { inPath, outPath } = makePipes(t);
    await readWithLock(t, inPath, 'LOCK_SH');
    const reader = openToRead(inPath);
    await assert.rejects(connect({ inPath, outPath, timeout: 150 }), {
      code: 'timeout',
      message:
        /no process has .*out open for reading; check that the server is running, and that in and out are not swapped \(inPath is the server's out path/,
    });
    fs.closeSync(reader);
  });

  // Beyond the specification: systems that do not list their locks.
  it('goes unnoticed without a list of locks', async (t) => {
    const { inPath, outPath } = makePipes(t);
    await readWithLock(t, inPath, 'LOCK_EX');
    t.mock.method(fs, 'readFileSync', () => {
      throw Object.assign(new Error('no /proc'), { code: 'ENOENT' });
    });
    await assert.rejects(connect({ inPath, outPath, timeout: 10 }), { code: 'timeout' });
  });
});
