import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { OVER, overPipes } from '../testing/helpers.js';
import { CLOSE_FRAME, frame, pattern } from '../testing/rig.js';

for (const [name, start] of OVER) {
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

    for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
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
          assert.deepEqual([code, errors], [0, '']);
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
});
