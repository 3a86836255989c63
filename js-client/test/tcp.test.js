import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import { Deadline } from '../lib/retry.js';
import { connectTCP } from '../lib/tcp.js';
import { startCode } from '../testing/process.js';
import { frame, listen, openDescriptors, Peer } from '../testing/rig.js';
import { failConnect } from '../testing/sockets.js';
import { turn } from '../testing/wait.js';

/**
 * A port of 127.0.0.1 where no process listens.
 *
 * @param {import('node:test').TestContext} t
 */
async function freePort(t) {
  const { server, port } = await listen(t);
  server.close();
  await once(server, 'close');
  return port;
}

/** @param {number | string} port */
function at(port) {
  return { inPath: `${port}`, outPath: `${port}` };
}

describe('connecting over TCP', () => {
  // Covers RDV-43.
  it('retries while it is refused', async (t) => {
    const port = await freePort(t);
    const connecting = connect({ ...at(port), timeout: 60_000 });
    await new Promise((resolve) => setTimeout(resolve, 30));
    const server = net.createServer().listen(port, '127.0.0.1');
    t.after(() => server.close());
    const [[socket], channel] = await Promise.all([once(server, 'connection'), connecting]);
    socket.end(frame('here'));
    assert.equal(String(await channel.read()), 'here');
    await channel.close();
  });

  for (const [system, code, host = ''] of [
    ['EADDRNOTAVAIL', 'EADDRNOTAVAIL'],
    ['EADDRNOTAVAIL', 'bad-rendezvous', '[::1]:'],
    ['ENETUNREACH', 'bad-rendezvous'],
    ['EAFNOSUPPORT', 'bad-rendezvous'],
    ['EPERM', 'bad-rendezvous'],
    ['EACCES', 'bad-rendezvous'],
    ['EMFILE', 'EMFILE'],
    ['ENFILE', 'ENFILE'],
    ['ENOBUFS', 'ENOBUFS'],
    ['ENOMEM', 'ENOMEM'],
  ]) {
    // Covers RDV-11.
    it(`gives ${code} for ${system} of ${host}5000 at once`, async (t) => {
      failConnect(t, system);
      await assert.rejects(connect({ ...at(`${host}5000`), timeout: Infinity }), { code });
    });
  }

  // Covers RDV-14.
  it('tries again after an error that no rule names, and tells it at the timeout', async (t) => {
    const tries = failConnect(t, 'EHOSTUNREACH');
    const message = /127\.0\.0\.1:5000: EHOSTUNREACH; check that the server is running/;
    await assert.rejects(connect({ ...at(5000), timeout: 30 }), { code: 'timeout', message });
    assert.ok(tries() > 1, `${tries()} tries`);
  });

  // Beyond the specification: what connecting leaves behind on a signal.
  it('listens to a signal no longer than it waits', async (t) => {
    const port = await freePort(t);
    const { signal } = new AbortController();
    await assert.rejects(connect({ ...at(port), timeout: 30, signal }), { code: 'timeout' });
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  for (const timeout of [0, 30]) {
    // Covers RDV-9, RDV-10.
    it(`gives up after ${timeout} ms and leaves nothing open`, async (t) => {
      const port = await freePort(t);
      const before = await openDescriptors();
      const start = performance.now();
      const message =
        /127\.0\.0\.1:\d+: ECONNREFUSED; check that the server is running, and that this is its address$/;
      await assert.rejects(connect({ ...at(port), timeout }), { code: 'timeout', message });
      assert.ok(performance.now() - start >= timeout);
      assert.equal(await openDescriptors(), before);
    });
  }

  // Covers RDV-9.
  it('connects at once with timeout 0 to a server that listens', async (t) => {
    const { server, port } = await listen(t);
    const accepted = once(server, 'connection');
    const channel = await connect({ ...at(port), timeout: 0 });
    const [socket] = await accepted;
    await new Peer(socket, socket).destroy();
    await channel.close();
  });

  // Covers RDV-9.
  it('gives up on time where the queue of the listener is full', async (t) => {
    const code = `
      import net from 'node:net';
      const server = net.createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
        console.log(server.address().port);
        setTimeout(() => process.kill(process.pid, 'SIGSTOP'), 20);
      });
    `;
    const { child } = startCode(t, code);
    const port = Number(await once(child.stdout, 'data'));
    await stopped(child.pid);
    const fillers = Array.from({ length: 8 }, () => net.connect(port, '127.0.0.1'));
    for (const socket of fillers) socket.on('error', () => {});
    await Promise.all(fillers.slice(0, 2).map((socket) => once(socket, 'connect')));
    const start = performance.now();
    await assert.rejects(connect({ ...at(port), timeout: 100 }), { code: 'timeout' });
    assert.ok(performance.now() - start >= 100);
    for (const socket of fillers) socket.destroy();
  });

  // Covers RDV-10.
  it('leaves nothing open when it is aborted', async (t) => {
    const port = await freePort(t);
    const before = await openDescriptors();
    const controller = new AbortController();
    const connecting = connect({ ...at(port), signal: controller.signal });
    setImmediate(() => controller.abort());
    await assert.rejects(connecting, { name: 'AbortError' });
    assert.equal(await openDescriptors(), before);
  });

  // Covers RDV-44.
  it('never connects to itself', async (t) => {
    const port = await freePort(t);
    const before = await openDescriptors();
    // By chance the kernel may give the client the very port that it connects to; here the test does.
    const address = { host: '127.0.0.1', port, localPort: port };
    await assert.rejects(connectTCP(address, new Deadline(0), undefined), { code: 'timeout' });
    assert.equal(await openDescriptors(), before);
  });

  // Covers RDV-45.
  it('sends small messages without delay', { skip: !fs.existsSync('/proc/self/fd') }, async (t) => {
    const { server, port } = await listen(t);
    const accepted = once(server, 'connection');
    const before = new Set(openSockets());
    const channel = await connect(at(port));
    const [socket] = await accepted;
    // Node does not show the options of a socket, but a child that inherits the socket can. The other new
    // socket is the server's, which has the option off.
    const options = openSockets()
      .filter((fd) => !before.has(fd))
      .map(noDelay)
      .sort();
    assert.deepEqual(options, ['0', '1']);
    await new Peer(socket, socket).destroy();
    await channel.close();
  });

  // Covers RDV-49, SES-5, SES-26.
  it('reports a reset by the server', async (t) => {
    const { server, port } = await listen(t);
    const accepted = once(server, 'connection');
    const channel = await connect(at(port));
    const [socket] = await accepted;
    const read = channel.read();
    await turn();
    socket.resetAndDestroy();
    await assert.rejects(read, { code: 'reset' });
    await assert.rejects(channel.write(Buffer.from('x')), { code: 'reset' });
    assert.equal(channel.endReason, 'reset');
    await channel.close();
  });

  // Covers RDV-4.
  it('speaks IPv6 where there is any', async (t) => {
    const server = net.createServer().listen(0, '::1');
    const listening = await Promise.race([
      once(server, 'listening').then(() => true),
      once(server, 'error').then(() => false),
    ]);
    if (!listening) return t.skip('no IPv6 here');
    t.after(() => server.close());
    const address = `[::1]:${/** @type {net.AddressInfo} */ (server.address()).port}`;
    const accepted = once(server, 'connection');
    const channel = await connect({ inPath: address, outPath: address });
    const [socket] = await accepted;
    socket.end(frame('six'));
    assert.equal(String(await channel.read()), 'six');
    await channel.close();
  });
});

function openSockets() {
  return fs
    .readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => {
      try {
        return fs.fstatSync(fd).isSocket();
      } catch {
        return false; // the descriptor of the listing itself
      }
    });
}

/** @param {number} fd */
function noDelay(fd) {
  const code = 'import socket; print(socket.socket(fileno=0).getsockopt(6, 1))';
  return execFileSync('python3', ['-c', code], { stdio: [fd, 'pipe', 'inherit'] })
    .toString()
    .trim();
}

/** @param {number | undefined} pid */
async function stopped(pid) {
  for (;;) {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    if (/\) T /.test(stat)) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
