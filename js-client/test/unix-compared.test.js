// Where Node cannot connect to a descriptor, the client compares what it connects to. RDV-65
// On Linux this file runs itself again in a mount namespace without /proc.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { connect } from '../index.js';
import { ComparedFile } from '../lib/socket-file.js';
import { meddleOnce } from '../testing/meddle.js';
import { frame, Peer } from '../testing/rig.js';
import { at, listenUnix, socketPath } from '../testing/sockets.js';

const INSIDE = 'IPC_CHANNEL_TEST_WITHOUT_PROC';
// It ends in time, even if this process is killed.
const HIDE = ['sh', '-c', 'mount -t tmpfs none /proc && exec timeout -s KILL 60 "$@"', 'sh'];
const isRoot = process.geteuid?.() === 0;
const isInside = process.env[INSIDE] !== undefined;
const STRANGER = 12345;

/** A command that runs another one without /proc, or null if this user may not hide it. */
function withoutProc() {
  const rights = isRoot ? [] : ['--user', '--map-root-user'];
  const command = ['unshare', ...rights, '--mount', ...HIDE];
  const [name, ...values] = command;
  return spawnSync(name, [...values, 'true']).status === 0 ? command : null;
}

/**
 * Runs the tests below without /proc, and returns what they print.
 *
 * @param {string[]} command
 * @returns {Promise<{failed: boolean, output: string}>}
 */
function runInside([name, ...values]) {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env; // it would make the output binary
  const file = fileURLToPath(import.meta.url);
  const options = { env: { ...env, [INSIDE]: isRoot ? 'root' : 'user' } };
  return new Promise((resolve) => {
    const node = [process.execPath, '--test-reporter=tap', file];
    execFile(name, [...values, ...node], options, (error, output, errors) => {
      resolve({ failed: error !== null, output: output + errors });
    });
  });
}

/** The lowest descriptor that is free. It stays the same if nothing is left open. */
function lowestFree() {
  const fd = fs.openSync('/', fs.constants.O_RDONLY);
  fs.closeSync(fd);
  return fd;
}

/**
 * What the client sends to a server, and that it leaves.
 *
 * @param {net.Server} server
 */
async function bytesSentTo(server) {
  const [socket] = await once(server, 'connection');
  const peer = new Peer(socket, socket);
  const bytes = await peer.readAll();
  await peer.destroy();
  return bytes;
}

describe('without /proc', { skip: process.platform !== 'linux' || isInside }, () => {
  // Covers RDV-65.
  it('the socket file is compared', async (t) => {
    const command = withoutProc();
    if (command === null) {
      t.skip('NOT TESTED: /proc cannot be hidden from a process');
      return;
    }
    const { failed, output } = await runInside(command);
    assert.ok(!failed, output);
    assert.match(output, /^ok 2 - the socket file that is compared$/m); // and no "# SKIP"
  });
});

const here = isInside || !['linux', 'win32'].includes(process.platform);
const needsRoot = process.env[INSIDE] !== 'root' && 'NOT TESTED: a file of another user needs root';

describe('the socket file that is compared', { skip: !here }, () => {
  // Covers RDV-65.
  it('is looked at again after the kernel has connected, since connect makes its system call at once', async (t) => {
    assert.ok(!fs.existsSync('/proc/self/fd'));
    const { file } = await listenUnix(t);
    const socket = net.connect({ path: file });
    fs.rmSync(file);
    await once(socket, 'connect');
    socket.destroy();
  });

  for (const [what, isBefore] of /** @type {const} */ ([
    ['was another one just while the client connected', true],
    ['is another one after connecting', false],
  ])) {
    // Covers RDV-65.
    it(`that ${what} makes the client send nothing, and try again`, async (t) => {
      const [mine, other] = [await listenUnix(t), await listenUnix(t)];
      const aside = `${mine.file}.aside`;
      meddleOnce(t, (connectNow) => {
        if (!isBefore) connectNow();
        fs.renameSync(mine.file, aside);
        fs.renameSync(other.file, mine.file);
        if (!isBefore) return;
        connectNow();
        fs.renameSync(mine.file, other.file);
        fs.renameSync(aside, mine.file);
      });
      const [wrong, right] = isBefore ? [other, mine] : [mine, other];
      const sent = bytesSentTo(wrong.server);
      const accepted = once(right.server, 'connection');
      const channel = await connect({ ...at(mine.file), timeout: 60_000 });
      await channel.write(Buffer.from('x'));
      assert.equal((await sent).length, 0);
      const [socket] = await accepted;
      const peer = new Peer(socket, socket);
      assert.equal(String(await peer.readFrame()), 'x');
      await peer.destroy();
      await channel.close();
    });
  }

  // Covers RDV-10, RDV-65.
  it('that is missing after connecting makes the client wait', async (t) => {
    const { server, file } = await listenUnix(t);
    const sent = bytesSentTo(server);
    meddleOnce(t, (connectNow) => {
      connectNow();
      fs.rmSync(file);
    });
    await assert.rejects(connect({ ...at(file), timeout: 0 }), {
      code: 'timeout',
      message: /was replaced meanwhile; check that only one server uses this path/,
    });
    assert.equal((await sent).length, 0);
  });

  // Covers RDV-65.
  it('may go once the client has looked at it', async (t) => {
    const { server, file } = await listenUnix(t);
    server.on('connection', (socket) => socket.end(frame('from a server that leaves')));
    const connecting = connect(at(file));
    process.nextTick(() => fs.rmSync(file));
    const channel = await connecting;
    assert.equal(String(await channel.read()), 'from a server that leaves');
    await channel.close();
  });

  // Covers RDV-11, RDV-66.
  it('is refused if it is no socket, and nothing touches it', async (t) => {
    const { server, file } = await listenUnix(t);
    server.on('connection', () => assert.fail('it connected'));
    const directory = path.dirname(file);
    const [link, pipe, plain] = ['link', 'pipe', 'plain'].map((name) => path.join(directory, name));
    fs.symlinkSync(file, link);
    execFileSync('mkfifo', [pipe]);
    fs.writeFileSync(plain, 'precious');
    const before = lowestFree();
    for (const wrong of [link, pipe, plain, directory]) {
      const message = /is a symbolic link, not a Unix socket|is not a Unix socket: pass/;
      const refused = { code: 'bad-rendezvous', message };
      await assert.rejects(connect({ ...at(wrong), timeout: Infinity }), refused);
    }
    assert.equal(fs.readFileSync(plain, 'utf8'), 'precious');
    assert.equal(lowestFree(), before);
  });

  // Covers RDV-65.
  it("is refused if another user's has taken its place", { skip: needsRoot }, async (t) => {
    const [mine, other] = [await listenUnix(t), await listenUnix(t)];
    fs.chownSync(other.file, STRANGER, STRANGER);
    const sent = bytesSentTo(mine.server);
    meddleOnce(t, (connectNow) => {
      connectNow();
      fs.renameSync(other.file, mine.file);
    });
    const refused = { code: 'bad-rendezvous', message: /belongs to user 12345/ };
    await assert.rejects(connect({ ...at(mine.file), timeout: Infinity }), refused);
    assert.equal((await sent).length, 0);
  });
});

// Covers RDV-36.
it('a path that is not UTF-8 is refused where files are compared, since node:net has no bytes', (t) => {
  const raw = Buffer.from(`${socketPath(t)}\xfc`, 'latin1');
  const refused = { code: 'bad-rendezvous', message: /Node cannot connect to .*; use a path in/ };
  assert.throws(() => new ComparedFile(raw, []), refused);
});
