// Whose server a client trusts at a Unix socket. Servers and clients of other users need root to start.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import { meddleOnce } from '../testing/meddle.js';
import { startCode } from '../testing/process.js';
import { frame, openDescriptors } from '../testing/rig.js';
import { at, listenUnix, socketPath } from '../testing/sockets.js';

/** @typedef {import('node:test').TestContext} TestContext */

const asRoot = {
  skip: process.geteuid?.() !== 0 && 'NOT TESTED: a process of another user needs root to start',
};
const STRANGER = 12345;
const INDEX = new URL('../index.js', import.meta.url);

/**
 * A path in a directory where every user may make a socket.
 *
 * @param {TestContext} t
 */
function openPath(t) {
  const file = socketPath(t);
  fs.chmodSync(path.dirname(file), 0o777);
  return file;
}

/**
 * A server of another user, which tells each client how many have come.
 *
 * @param {TestContext} t
 * @param {string} file
 */
async function startStranger(t, file) {
  const code = `
    import net from 'node:net';
    const [path, user] = process.argv.slice(1);
    process.setgid(Number(user));
    process.setuid(Number(user));
    process.umask(0);
    let count = 0;
    const server = net.createServer((socket) => {
      count += 1;
      socket.end(Buffer.from([0, 0, 0, 1, count]));
    });
    server.listen(path, () => console.log('listening'));
  `;
  await startCode(t, code, file, `${STRANGER}`).said('listening');
}

/**
 * What a client of another user gets.
 *
 * @param {TestContext} t
 * @param {string} file
 */
async function readAsStranger(t, file) {
  const code = `
    import { connect } from '${INDEX}';
    const [path, user] = process.argv.slice(1);
    process.setgid(Number(user));
    process.setuid(Number(user));
    try {
      const channel = await connect({ inPath: 'unix:' + path, outPath: 'unix:' + path });
      console.log(String(await channel.read()));
      await channel.close();
    } catch (error) {
      console.log(error.code + ': ' + error.message);
    }
  `;
  const { output, errors } = await startCode(t, code, file, `${STRANGER}`).ended;
  assert.equal(errors, '');
  return output.trim();
}

describe("another user's server", asRoot, () => {
  // Covers RDV-65, RDV-66.
  it('is refused before anything connects to it', async (t) => {
    const file = openPath(t);
    await startStranger(t, file);
    const before = await openDescriptors();
    const message =
      /socket belongs to user 12345, not to user 0 or root: if you trust that user, add it to allowedUsers$/;
    for (const allowedUsers of [undefined, [], [12346]]) {
      const options = { ...at(file), timeout: Infinity, allowedUsers };
      await assert.rejects(connect(options), { code: 'bad-rendezvous', message });
    }
    assert.equal(await openDescriptors(), before);
    const channel = await connect({ ...at(file), allowedUsers: [STRANGER] });
    assert.deepEqual(await channel.read(), Buffer.from([1]));
    await channel.close();
  });

  // Covers RDV-65.
  it('that takes the place of ours just before the client connects is not met', async (t) => {
    const file = openPath(t);
    await startStranger(t, `${file}.theirs`);
    const { server } = await listenUnix(t, file);
    server.on('connection', (socket) => socket.end(frame('ours')));
    meddleOnce(t, (connectNow) => {
      fs.renameSync(`${file}.theirs`, file);
      connectNow();
    });
    const channel = await connect({ ...at(file), timeout: Infinity });
    assert.equal(String(await channel.read()), 'ours');
    await channel.close();
    // The first client that has come to the stranger:
    const next = await connect({ ...at(file), allowedUsers: [STRANGER] });
    assert.deepEqual(await next.read(), Buffer.from([1]));
    await next.close();
  });
});

describe('a client of another user', asRoot, () => {
  // Covers RDV-65.
  it('trusts the server of root', async (t) => {
    const file = openPath(t);
    const { server } = await listenUnix(t, file);
    fs.chmodSync(file, 0o666);
    server.on('connection', (socket) => socket.end(frame('from root')));
    assert.equal(await readAsStranger(t, file), 'from root');
  });

  // Covers RDV-65, RDV-66.
  it('does not trust the server of a third user', async (t) => {
    const file = openPath(t);
    const { server } = await listenUnix(t, file);
    server.on('connection', () => assert.fail('it connected'));
    fs.chmodSync(file, 0o666);
    fs.chownSync(file, 12346, 12346);
    const said = await readAsStranger(t, file);
    assert.match(said, /^bad-rendezvous: .* belongs to user 12346, not to user 12345 or root: /);
  });

  // Covers RDV-11.
  it('is told that it may not connect', async (t) => {
    const file = openPath(t);
    await listenUnix(t, file);
    fs.chmodSync(file, 0o600);
    assert.match(await readAsStranger(t, file), /^bad-rendezvous: .* cannot be reached: EACCES$/);
  });
});
