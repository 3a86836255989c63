import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { makePipes, openToRead } from '../testing/pipes.js';
import { startHelper } from '../testing/process.js';
import { CLOSE_FRAME, frame, listen, Peer, pattern, pipePeer } from '../testing/rig.js';
import { until } from '../testing/wait.js';

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * Starts a helper over named pipes.
 *
 * @param {TestContext} t
 * @param {string} file
 */
async function overPipes(t, file) {
  const paths = makePipes(t);
  const readFd = openToRead(paths.outPath);
  const helper = startHelper(t, file, paths);
  /** @type {Peer | undefined} */
  let peer;
  await until(() => {
    try {
      peer ??= pipePeer(paths, readFd);
    } catch {}
    return peer !== undefined;
  }, 'the helper');
  t.after(() => peer?.destroy());
  return { ...helper, peer: /** @type {Peer} */ (peer) };
}

/**
 * Starts a helper over TCP.
 *
 * @param {TestContext} t
 * @param {string} file
 */
async function overTCP(t, file) {
  const { server, address } = await listen(t);
  const accepted = once(server, 'connection');
  const helper = startHelper(t, file, { inPath: address, outPath: address });
  const [socket] = await accepted;
  const peer = new Peer(socket, socket);
  t.after(() => peer.destroy());
  return { ...helper, peer };
}

for (const [name, start] of /** @type {const} */ ([
  ['named pipes', overPipes],
  ['TCP', overTCP],
])) {
  describe(`examples over ${name}`, () => {
    for (const [ending, last] of /** @type {const} */ ([
      ['clean', CLOSE_FRAME],
      ['eof', Buffer.alloc(0)],
    ])) {
      // Covers FRM-2, RDV-6, RDV-7, SES-31.
      it(`echo sends everything back and ends by itself: ${ending}`, async (t) => {
        const { peer, ended } = await start(t, 'examples/echo.js');
        for (const message of [Buffer.from('hello'), pattern(300_000)]) {
          void peer.send(frame(message));
          assert.ok((await peer.readFrame()).equals(message));
        }
        await peer.send(last);
        await peer.endWriting();
        assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
        const { code, errors } = await ended;
        assert.equal(errors, '');
        assert.equal(code, 0);
      });
    }

    // Covers FRM-10.
    it('echo says what went wrong', async (t) => {
      const { peer, ended } = await start(t, 'examples/echo.js');
      await peer.send(frame('cut').subarray(0, 5));
      await peer.endWriting();
      const { code, errors } = await ended;
      assert.equal(code, 1);
      assert.match(errors, /^echo: truncated: stream ended after 1 of the 3 payload bytes\n$/);
    });

    for (const [signal, status] of /** @type {const} */ ([
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ])) {
      for (const idle of [false, true]) {
        // Covers SES-21, SES-31.
        it(`echo ends in order at ${signal}, ${idle ? 'idle' : 'writing'}`, async (t) => {
          const { peer, child, ended } = await start(t, 'examples/echo.js');
          const message = pattern(idle ? 5 : 20_000_000);
          void peer.send(frame(message));
          const header = await peer.read(4); // it is writing now, unless idle
          if (idle) assert.deepEqual(await peer.read(5), message);
          child.kill(signal);
          const rest = await peer.readAll();
          await peer.destroy();
          const answer = idle ? CLOSE_FRAME : Buffer.concat([message, CLOSE_FRAME]);
          assert.ok(rest.equals(answer), `${rest.length} bytes`);
          assert.equal(header.readUInt32BE(), message.length);
          const { code, errors } = await ended;
          assert.deepEqual([code, errors], [status, '']);
        });
      }
    }

    // Beyond the specification: the digest example works.
    it('digest answers with the hash', async (t) => {
      const { peer, ended } = await start(t, 'examples/digest.js');
      await peer.send(frame('abc'));
      const expected = createHash('sha256').update('abc').digest('hex');
      assert.equal(String(await peer.readFrame()), expected);
      await peer.send(CLOSE_FRAME);
      await peer.endWriting();
      assert.equal((await ended).code, 0);
    });
  });

  describe(`a process with a channel over ${name}`, () => {
    // Beyond the specification: an idle channel keeps no process alive.
    it('ends by itself when it has nothing more to do', async (t) => {
      const { ended } = await start(t, 'testing/programs/idle.js');
      const { code, output, errors } = await ended;
      assert.equal(errors, '');
      assert.equal(output, 'connected null\n');
      assert.equal(code, 0);
    });

    // Beyond the specification: a read that waits keeps the process alive.
    it('stays for a read that waits, and no longer', async (t) => {
      const { peer, child, ended, said } = await start(t, 'testing/programs/reader.js');
      await said('waiting');
      await new Promise((resolve) => setTimeout(resolve, 200));
      assert.equal(child.exitCode, null);
      await peer.send(frame('it'));
      assert.equal((await ended).output, 'waiting\ngot it\n');
    });

    for (const [program, rest] of /** @type {const} */ ([
      ['writer', Buffer.alloc(0)],
      ['closer', CLOSE_FRAME],
    ])) {
      // Covers SES-21, SES-31.
      it(`stays until the kernel has what was written: ${program}`, async (t) => {
        const { peer, ended, said } = await start(t, `testing/programs/${program}.js`);
        await said('\n');
        const frames = [1, 2, 3, 4].map((byte) => frame(Buffer.alloc(500_000, byte)));
        assert.ok((await peer.readAll()).equals(Buffer.concat([...frames, rest])));
        await peer.endWriting();
        assert.equal((await ended).code, 0);
      });
    }
  });
}

describe('a process with channels that wait', () => {
  // Beyond the specification: a process can exit while its channels wait.
  it('has a free thread pool and can exit', async (t) => {
    const { ended } = await overPipes(t, 'testing/programs/exit.js');
    const { code, output } = await ended;
    assert.equal(output, 'exiting\n');
    assert.equal(code, 7);
  });

  // Covers RDV-8.
  it('says which variable is missing', async (t) => {
    const helper = startHelper(t, 'examples/echo.js', { inPath: '5000', outPath: '' });
    const { code, errors } = await helper.ended;
    assert.match(errors, /^echo: bad-rendezvous: .*IPC_CHANNEL_OUT/);
    assert.equal(code, 1);
  });
});
