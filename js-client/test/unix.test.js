import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import { startCode } from '../testing/process.js';
import { frame, openDescriptors, Peer } from '../testing/rig.js';
import { at, failConnect, listenUnix, socketPath } from '../testing/sockets.js';
import { turn, until } from '../testing/wait.js';

/** @typedef {import('node:test').TestContext} TestContext */

const onLinux = { skip: process.platform !== 'linux' };
const onPosix = { skip: process.platform === 'win32' };

// A server in a process of its own, which can be stopped and killed.
const LISTEN = `
  import net from 'node:net';
  const [path] = process.argv.slice(1);
  net.createServer(() => {}).listen({ path, backlog: 1 }, () => console.log('listening'));
`;

/**
 * A process that listens at the path and leaves its socket there when it is killed.
 *
 * @param {TestContext} t
 * @param {string} file
 */
async function startListener(t, file) {
  const { child, said } = startCode(t, LISTEN, file);
  await said('listening');
  return child;
}

/**
 * A socket at whose path no process listens.
 *
 * @param {TestContext} t
 */
async function staleSocket(t) {
  const file = socketPath(t);
  const child = await startListener(t, file);
  child.kill('SIGKILL');
  await once(child, 'close');
  assert.ok(fs.lstatSync(file).isSocket());
  return file;
}

describe('connecting over a Unix socket', onPosix, () => {
  // Covers RDV-9, RDV-66.
  it('waits for a path that is missing', async (t) => {
    const file = socketPath(t);
    const connecting = connect({ ...at(file), timeout: 60_000 });
    await new Promise((resolve) => setTimeout(resolve, 30));
    const { server } = await listenUnix(t, file);
    const [[socket], channel] = await Promise.all([once(server, 'connection'), connecting]);
    socket.end(frame('here'));
    assert.equal(String(await channel.read()), 'here');
    await channel.close();
  });

  // Covers RDV-67.
  it('retries while it is refused', async (t) => {
    const file = await staleSocket(t);
    const message = /socket: ECONNREFUSED; check that the server is running, and that this/;
    const before = await openDescriptors();
    await assert.rejects(connect({ ...at(file), timeout: 30 }), { code: 'timeout', message });
    assert.equal(await openDescriptors(), before);
    const connecting = connect({ ...at(file), timeout: 60_000 });
    await turn();
    fs.rmSync(file);
    const { server } = await listenUnix(t, file);
    const [[socket], channel] = await Promise.all([once(server, 'connection'), connecting]);
    socket.end(frame('here'));
    assert.equal(String(await channel.read()), 'here');
    await channel.close();
  });

  // Covers RDV-67.
  it('retries while the queue of the server is full', onLinux, async (t) => {
    const file = socketPath(t);
    const child = await startListener(t, file);
    child.kill('SIGSTOP');
    const stat = () => fs.readFileSync(`/proc/${child.pid}/stat`, 'latin1');
    await until(() => / T /.test(stat()), 'a server that stands still');
    const fillers = Array.from({ length: 4 }, () => net.connect({ path: file }));
    t.after(() => fillers.map((socket) => socket.destroy()));
    for (const socket of fillers) socket.on('error', () => {}); // the end of the server resets them
    const outcomes = fillers.map((socket) => once(socket, 'connect').catch((error) => error.code));
    assert.equal((await Promise.all(outcomes)).at(-1), 'EAGAIN');
    const message = /EAGAIN; the server's queue is full; check that it accepts connections$/;
    const before = await openDescriptors();
    await assert.rejects(connect({ ...at(file), timeout: 30 }), { code: 'timeout', message });
    assert.equal(await openDescriptors(), before);
    const connecting = connect({ ...at(file), timeout: 60_000 });
    child.kill('SIGCONT');
    await (await connecting).close();
  });

  for (const timeout of [0, 30]) {
    // Covers RDV-9, RDV-10.
    it(`gives up after ${timeout} ms and leaves nothing open`, async (t) => {
      const file = socketPath(t);
      const before = await openDescriptors();
      const start = performance.now();
      const message =
        /socket: ENOENT; check that the server is running, and that this is its address$/;
      await assert.rejects(connect({ ...at(file), timeout }), { code: 'timeout', message });
      assert.ok(performance.now() - start >= timeout);
      assert.equal(await openDescriptors(), before);
    });
  }

  // Covers RDV-9.
  it('connects at once with timeout 0 to a server that listens', async (t) => {
    const { server, file } = await listenUnix(t);
    const accepted = once(server, 'connection');
    const channel = await connect({ ...at(file), timeout: 0 });
    const [socket] = await accepted;
    await new Peer(socket, socket).destroy();
    await channel.close();
  });

  // Covers RDV-10.
  it('leaves nothing open when it is aborted', async (t) => {
    const file = socketPath(t);
    await startListener(t, file);
    const stale = await staleSocket(t);
    const before = await openDescriptors();
    for (const where of [file, stale]) {
      const controller = new AbortController();
      const { signal } = controller;
      const connecting = connect({ ...at(where), signal });
      process.nextTick(() => controller.abort());
      await assert.rejects(connecting, { name: 'AbortError' });
      assert.equal(getEventListeners(signal, 'abort').length, 0);
    }
    assert.equal(await openDescriptors(), before);
  });

  // Covers RDV-11, RDV-66.
  it('refuses what is no socket, and touches nothing', async (t) => {
    const { server, file } = await listenUnix(t);
    server.on('connection', () => assert.fail('it connected'));
    const directory = path.dirname(file);
    const [link, pipe, plain] = ['link', 'pipe', 'plain'].map((name) => path.join(directory, name));
    fs.symlinkSync(file, link);
    execFileSync('mkfifo', [pipe]);
    fs.writeFileSync(plain, 'precious');
    const before = await openDescriptors();
    for (const wrong of [link, pipe, plain, directory, '/', `${plain}/below`, '/dev/null']) {
      const message = /symbolic link, not a Unix|is not a Unix socket: pass|ENOTDIR/;
      const refused = { code: 'bad-rendezvous', message };
      await assert.rejects(connect({ ...at(wrong), timeout: Infinity }), refused);
    }
    assert.equal(fs.readFileSync(plain, 'utf8'), 'precious');
    assert.equal(await openDescriptors(), before);
  });

  // Covers RDV-11.
  it('refuses a socket of another type', async (t) => {
    const file = socketPath(t);
    const code =
      'import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind(sys.argv[1])';
    execFileSync('python3', ['-c', code, file]);
    // Once its process has gone, the kernel refuses it like any other stale socket.
    const holder = startCode(
      t,
      `
        import { spawn } from 'node:child_process';
        const code = 'import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);' +
          's.bind(sys.argv[1]); print("bound", flush=True); sys.stdin.read()';
        spawn('python3', ['-c', code, process.argv[1]], { stdio: ['pipe', 'inherit', 'inherit'] });
      `,
      `${file}2`,
    );
    await holder.said('bound');
    await assert.rejects(connect({ ...at(file), timeout: 0 }), { code: 'timeout' });
    const refused = { code: 'bad-rendezvous', message: /cannot be reached: EPROTOTYPE/ };
    await assert.rejects(connect({ ...at(`${file}2`), timeout: Infinity }), refused);
  });

  for (const [system, code] of [
    ['EACCES', 'bad-rendezvous'],
    ['ELOOP', 'bad-rendezvous'],
    ['ENAMETOOLONG', 'bad-rendezvous'],
    ['ENOTSOCK', 'bad-rendezvous'],
    ['EPERM', 'bad-rendezvous'],
    ['EMFILE', 'EMFILE'],
    ['ENOBUFS', 'ENOBUFS'],
  ]) {
    // Covers RDV-11.
    it(`gives ${code} for ${system} at once`, async (t) => {
      const { file } = await listenUnix(t);
      failConnect(t, system);
      await assert.rejects(connect({ ...at(file), timeout: Infinity }), { code });
    });
  }

  // Covers RDV-14.
  it('tries again after an error that no rule names, and tells it at the timeout', async (t) => {
    const { file } = await listenUnix(t);
    const tries = failConnect(t, 'EIO');
    const message = /socket: EIO; check that the server is running, and that this/;
    await assert.rejects(connect({ ...at(file), timeout: 30 }), { code: 'timeout', message });
    assert.ok(tries() > 1, `${tries()} tries`);
  });

  // Covers RDV-5.
  it('is refused on Windows', async (t) => {
    const { value } = /** @type {PropertyDescriptor} */ (
      Object.getOwnPropertyDescriptor(process, 'platform')
    );
    const { file } = await listenUnix(t);
    Object.defineProperty(process, 'platform', { value: 'win32' });
    t.after(() => Object.defineProperty(process, 'platform', { value }));
    const refused = { code: 'bad-rendezvous', message: /on Windows: use TCP/ };
    await assert.rejects(connect({ ...at(file), timeout: Infinity }), refused);
  });
});
