import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { describe, it } from 'node:test';

import { OVER, overPipes, overTCP } from '../testing/helpers.js';
import { makePipes, openToRead } from '../testing/pipes.js';
import { startHelper } from '../testing/process.js';
import { CLOSE_FRAME, frame, pattern } from '../testing/rig.js';
import { until } from '../testing/wait.js';

const PROGRAM = 'testing/programs/helper.js';

/**
 * Whether a process has a named pipe open to write, from which nothing has come yet.
 *
 * @param {number} fd
 */
function hasWriter(fd) {
  try {
    fs.readSync(fd, Buffer.alloc(1)); // 0 bytes: the end
    return false;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EAGAIN';
  }
}

describe('the exit code of runHelper', () => {
  for (const [main, last, code, said] of /** @type {const} */ ([
    ['echo', CLOSE_FRAME, 0, /^$/],
    ['echo', Buffer.alloc(0), 0, /^$/],
    ['echo', Buffer.alloc(2), 1, /^helper: truncated: stream ended after 2 .*\n$/],
    ['echo', Buffer.alloc(4, 255), 1, /^helper: too-large: frame of 4294967295 bytes .*\n$/],
    ['catches', Buffer.alloc(2), 1, /^helper: truncated: stream ended after 2 .*\n$/],
    ['catches', Buffer.alloc(0), 0, /^$/],
    ['rejects', CLOSE_FRAME, 1, /^helper: Error: out of cheese\n {4}at /],
    ['throws', CLOSE_FRAME, 1, /^helper: Error: out of cheese\n {4}at /],
    ['stuck', null, 1, /^helper: Error: the helper waits for something that cannot happen\n/],
    ['chooses', CLOSE_FRAME, 7, /^$/],
  ])) {
    // Beyond the specification: what a helper's exit code says.
    it(`is ${code} after ${main} and ${last?.toString('hex')}`, async (t) => {
      const { peer, ended } = await overTCP(t, PROGRAM, main);
      if (last !== null) {
        await peer.send(last);
        await peer.endWriting();
      }
      assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
      await peer.destroy();
      const result = await ended;
      assert.equal(result.code, code);
      assert.match(result.errors, said);
    });
  }

  // Beyond the specification: what a helper's exit code says.
  it('is 1 after a rejection that nobody handles', async (t) => {
    const { peer, ended } = await overPipes(t, PROGRAM, 'neglects');
    const { code, errors } = await ended;
    assert.equal(code, 1);
    assert.match(errors, /Error: out of cheese/);
    assert.deepEqual(await peer.readAll(), Buffer.alloc(0)); // no close frame
  });

  // Beyond the specification: what a helper's exit code says.
  it('is 1 if no service is there', async (t) => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = /** @type {net.AddressInfo} */ (server.address());
    server.close();
    await once(server, 'close');
    for (const [inPath, said] of /** @type {const} */ ([
      [`${port}`, /^helper: timeout: no server came within 500 ms: .*\n$/],
      ['in', /^helper: bad-rendezvous: .*\n$/],
    ])) {
      const result = await startHelper(t, PROGRAM, { inPath, outPath: inPath }, 'echo', '500')
        .ended;
      assert.equal(result.code, 1);
      assert.match(result.errors, said);
    }
  });

  // A service that has closed its channel does not want the answer.
  for (const [name, last, code] of /** @type {const} */ ([
    ['closed its channel', CLOSE_FRAME, 0],
    ['died', Buffer.alloc(0), 1],
  ])) {
    // Beyond the specification: what a helper's exit code says.
    it(`is ${code} if the service has ${name} when a write fails`, async (t) => {
      const { peer, ended } = await overPipes(t, PROGRAM, 'echo');
      void peer.send(frame(pattern(4_000_000)));
      await peer.read(1000); // it is writing now
      await peer.send(last);
      await peer.destroy();
      const result = await ended;
      assert.equal(result.code, code);
      assert.match(result.errors, code === 0 ? /^$/ : /^helper: peer-gone: .*\n$/);
    });
  }

  // Beyond the specification: a helper's output is complete.
  it('comes after all output', async (t) => {
    const { peer, ended } = await overTCP(t, PROGRAM, 'prints');
    await peer.readAll();
    await peer.destroy();
    const { code, output } = await ended;
    assert.deepEqual([code, output.length], [1, 1_000_000]);
  });
});

describe('runHelper at a signal', () => {
  for (const [name, start] of OVER) {
    // Beyond the specification: what a helper does at a signal.
    it(`answers the message in hand, and no other, over ${name}`, async (t) => {
      const { peer, child, said, ended } = await start(t, PROGRAM, 'tells');
      const message = pattern(20_000_000);
      void peer.send(frame(message));
      await peer.read(4); // it is writing now
      void peer.send(frame('unread'));
      child.kill('SIGTERM');
      await said('stopping');
      child.kill('SIGTERM'); // belongs to the first
      const rest = await peer.readAll();
      assert.ok(rest.equals(Buffer.concat([message, CLOSE_FRAME])), `${rest.length} bytes`);
      await peer.destroy();
      const { code, errors } = await ended;
      assert.deepEqual([code, errors], [0, '']);
    });
  }

  // Beyond the specification: what a helper does at a signal.
  it('ends while it tries to connect', async (t) => {
    const paths = makePipes(t);
    const readFd = openToRead(paths.outPath);
    t.after(() => fs.closeSync(readFd));
    const { child, ended } = startHelper(t, PROGRAM, paths, 'echo');
    await until(() => hasWriter(readFd), 'an attempt to connect');
    child.kill('SIGTERM');
    const { code, errors } = await ended;
    assert.deepEqual([code, errors], [0, '']);
  });

  // Beyond the specification: what a helper does at a signal.
  it('ends while it waits for a message', async (t) => {
    const { peer, child, ended } = await overTCP(t, PROGRAM, 'tells');
    await peer.send(frame('a'));
    await peer.readFrame();
    child.kill('SIGTERM');
    assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
    await peer.destroy();
    assert.equal((await ended).code, 0);
  });

  // Beyond the specification: what a helper does at a second signal.
  it('ends at once at the second', async (t) => {
    const { child, said, ended } = await overTCP(t, PROGRAM, 'hangs');
    await said('running');
    const timer = setInterval(() => child.kill('SIGTERM'), 10);
    t.after(() => clearInterval(timer));
    assert.equal((await ended).signal, 'SIGTERM');
  });
});

describe('a helper that is started by hand', () => {
  for (const [inPath, outPath, said] of /** @type {const} */ ([
    ['', '', 'IPC_CHANNEL_IN is empty'],
    ['5000', '', 'IPC_CHANNEL_OUT is empty'],
  ])) {
    // Covers RDV-8.
    it(`says what it is: ${said}`, async (t) => {
      const { code, errors } = await startHelper(t, PROGRAM, { inPath, outPath }, "it's $5").ended;
      const [first, second, , , command] = errors.split('\n');
      assert.equal(code, 2);
      assert.match(first, /^helper: this program is a helper, started by a service: /);
      assert.equal(second, `Environment variable ${said}.`);
      assert.ok(command.includes("programs/helper.js', 'it\\\\'s \\$5'])"), command);
    });
  }
});
