import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import { makePipes, openToRead, resize, untilRead } from '../testing/pipes.js';
import { startCode } from '../testing/process.js';
import { frame, meetAt, openDescriptors, pipePeer } from '../testing/rig.js';
import { turn } from '../testing/wait.js';

// A raw server that opens its ends with blocking calls, in the order given, and echoes one chunk.
const BLOCKING_SERVER = `
  import fs from 'node:fs';
  const [order, inPath, outPath] = process.argv.slice(1);
  const fds = {};
  for (const end of order) fds[end] = fs.openSync(end === 'r' ? outPath : inPath, end);
  const chunk = Buffer.alloc(100);
  const count = fs.readSync(fds.r, chunk);
  fs.writeSync(fds.w, chunk, 0, count);
`;

describe('connecting over named pipes', () => {
  for (const order of ['rw', 'wr']) {
    for (const first of ['client', 'server']) {
      // Covers RDV-22.
      it(`meets a server that blocks, opens ${order}, with the ${first} first`, async (t) => {
        const paths = makePipes(t);
        const serve = () => startCode(t, BLOCKING_SERVER, order, paths.inPath, paths.outPath);
        if (first === 'server') serve();
        const connecting = connect({ ...paths, timeout: 60_000 });
        if (first === 'client') {
          await turn();
          serve();
        }
        const channel = await connecting;
        await channel.write(Buffer.from('hello'));
        assert.equal(String(await channel.read()), 'hello');
        assert.equal(await channel.read(), null);
        assert.equal(channel.endReason, 'eof');
        await channel.close();
      });
    }
  }

  // Covers RDV-21.
  it('waits for paths that do not exist yet', async (t) => {
    const paths = makePipes(t);
    for (const pipe of Object.values(paths)) fs.renameSync(pipe, `${pipe}.later`);
    const connecting = connect({ ...paths, timeout: 60_000 });
    await turn();
    for (const pipe of Object.values(paths)) fs.renameSync(`${pipe}.later`, pipe);
    const readFd = openToRead(paths.outPath);
    await untilRead(paths.inPath);
    const peer = pipePeer(paths, readFd);
    const channel = await connecting;
    await peer.send(frame('here'));
    assert.equal(String(await channel.read()), 'here');
    await peer.destroy();
    await channel.close();
  });

  for (const timeout of [0, 30]) {
    // Covers RDV-9, RDV-10.
    it(`gives up after ${timeout} ms, leaves nothing open, and can be called again`, async (t) => {
      const paths = makePipes(t);
      const before = await openDescriptors();
      const start = performance.now();
      await assert.rejects(connect({ ...paths, timeout }), {
        name: 'IPCChannelError',
        code: 'timeout',
        message: new RegExp(
          timeout
            ? `no server came within ${timeout} ms: no process has .*out open for reading; `
            : 'no server is there: no process has .*out open for reading; ',
        ),
      });
      assert.ok(performance.now() - start >= timeout);
      assert.equal(await openDescriptors(), before);
      const { channel, peer } = await meetAt(paths);
      await peer.destroy();
      await channel.close();
    });
  }

  // Covers RDV-10.
  it('leaves nothing open when it is aborted', async (t) => {
    const paths = makePipes(t);
    const before = await openDescriptors();
    const controller = new AbortController();
    const connecting = connect({ ...paths, signal: controller.signal });
    setImmediate(() => controller.abort(new Error('why')));
    await assert.rejects(connecting, (/** @type {any} */ error) => {
      assert.equal(error.name, 'AbortError');
      assert.equal(error.cause.message, 'why');
      return true;
    });
    assert.equal(await openDescriptors(), before);
    await assert.rejects(connect({ ...paths, signal: controller.signal }), { name: 'AbortError' });
  });

  // Covers RDV-1, RDV-11, RDV-21.
  it('refuses what can never work, at once, and touches nothing', async (t) => {
    const { inPath, outPath } = makePipes(t);
    const directory = path.dirname(inPath);
    const file = path.join(directory, 'file');
    fs.writeFileSync(file, 'precious');
    const link = path.join(directory, 'link');
    fs.symlinkSync(outPath, link);
    const hard = path.join(directory, 'hard');
    fs.linkSync(inPath, hard);
    const wrong = [file, link, directory, path.join(file, 'below'), '/dev/null'];
    const before = await openDescriptors();
    for (const other of wrong) {
      for (const paths of [
        { inPath: other, outPath },
        { inPath, outPath: other },
      ]) {
        await assert.rejects(connect({ ...paths, timeout: Infinity }), { code: 'bad-rendezvous' });
      }
    }
    await assert.rejects(connect({ inPath, outPath: hard, timeout: Infinity }), {
      code: 'bad-rendezvous',
      message: /the same named pipe/,
    });
    assert.equal(fs.readFileSync(file, 'utf8'), 'precious');
    assert.equal(await openDescriptors(), before);
  });

  // Covers RDV-21.
  it('refuses the named pipe of another user', { skip: process.geteuid?.() !== 0 }, async (t) => {
    const { inPath, outPath } = makePipes(t);
    fs.chownSync(outPath, 12345, 12345);
    await assert.rejects(connect({ inPath, outPath }), {
      code: 'bad-rendezvous',
      message: /belongs to user 12345/,
    });
  });

  // Beyond the specification: waiting channels take no thread of Node's pool.
  it('serves five channels at once without a thread of the pool', async (t) => {
    const meetings = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const { channel, peer } = await meetAt(makePipes(t));
        return { channel, peer, read: channel.read() };
      }),
    );
    assert.ok((await fs.promises.readFile(new URL(import.meta.url))).length > 0);
    for (const { channel, peer, read } of meetings) {
      await peer.send(frame('each'));
      assert.equal(String(await read), 'each');
      await peer.destroy();
      await channel.close();
    }
  });

  // Covers FRM-2.
  it('passes a large message through a pipe that holds 4 KiB', async (t) => {
    // Linux gives new pipes so little once a user has many; here the peer asks for it.
    const paths = makePipes(t);
    const readFd = openToRead(paths.outPath);
    resize(readFd, 4096);
    const { channel, peer } = await meetAt(paths, {}, readFd);
    const message = Buffer.alloc(1024 * 1024, 5);
    const write = channel.write(message);
    assert.ok((await peer.readFrame()).equals(message));
    await write;
    await peer.destroy();
    await channel.close();
  });
});
