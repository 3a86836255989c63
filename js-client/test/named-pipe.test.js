import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import { startCode } from '../testing/process.js';
import {
  frame,
  makeFifos,
  meetAt,
  openDescriptors,
  openToRead,
  pipePeer,
  readToEnd,
  turn,
  until,
} from '../testing/rig.js';

const { O_WRONLY, O_NONBLOCK } = fs.constants;
const { openSync } = fs;

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
      it(`meets a server that blocks, opens ${order}, with the ${first} first`, async (t) => {
        const paths = makeFifos(t);
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

  it('waits for paths that do not exist yet', async (t) => {
    const { directory, ...paths } = makeFifos(t);
    for (const fifo of Object.values(paths)) fs.renameSync(fifo, `${fifo}.later`);
    const connecting = connect({ ...paths, timeout: 60_000 });
    await turn();
    for (const fifo of Object.values(paths)) fs.renameSync(`${fifo}.later`, fifo);
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
    it(`gives up after ${timeout} ms, leaves nothing open, and can be called again`, async (t) => {
      const paths = makeFifos(t);
      const before = await openDescriptors();
      const start = performance.now();
      await assert.rejects(connect({ ...paths, timeout }), {
        name: 'IPCChannelError',
        code: 'timeout',
        message: new RegExp(
          timeout ? `within ${timeout} ms: .*nobody reads it` : 'nobody is there: ',
        ),
      });
      assert.ok(performance.now() - start >= timeout);
      assert.equal(await openDescriptors(), before);
      const { channel, peer } = await meetAt(paths);
      await peer.destroy();
      await channel.close();
    });
  }

  it('leaves nothing open when it is aborted', async (t) => {
    const paths = makeFifos(t);
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

  it('refuses what can never work, at once, and touches nothing', async (t) => {
    const { directory, inPath, outPath } = makeFifos(t);
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
      message: /the same FIFO/,
    });
    assert.equal(fs.readFileSync(file, 'utf8'), 'precious');
    assert.equal(await openDescriptors(), before);
  });

  it('refuses the FIFO of another user', { skip: process.geteuid?.() !== 0 }, async (t) => {
    const { inPath, outPath } = makeFifos(t);
    fs.chownSync(outPath, 12345, 12345);
    await assert.rejects(connect({ inPath, outPath }), {
      code: 'bad-rendezvous',
      message: /belongs to user 12345/,
    });
  });

  for (const next of [false, true]) {
    const when = next ? ', with the next session at its names' : '';
    it(`delivers what a server left that came, wrote and went before${when}`, async (t) => {
      const paths = makeFifos(t);
      const connecting = connect({ ...paths, timeout: 60_000 });
      await turn(); // has opened its read end by now
      const writeFd = fs.openSync(paths.inPath, O_WRONLY | O_NONBLOCK);
      fs.writeSync(writeFd, Buffer.concat([frame('one'), frame('two')]));
      fs.closeSync(writeFd);
      // A server that goes takes its names along.
      fs.rmSync(paths.inPath);
      fs.rmSync(paths.outPath);
      let reader = -1;
      if (next) {
        execFileSync('mkfifo', ['-m', '600', paths.inPath, paths.outPath]);
        reader = openToRead(paths.outPath);
      }
      const channel = await connecting;
      await assert.rejects(channel.write(Buffer.from('x')), { code: 'peer-gone' });
      const { messages, error } = await readToEnd(channel);
      assert.deepEqual(messages.map(String), ['one', 'two']);
      assert.equal(error, null);
      assert.equal(channel.endReason, 'eof');
      await channel.close();
      if (next) {
        assert.equal(fs.readSync(reader, Buffer.alloc(100)), 0); // nothing for the next server
        fs.closeSync(reader);
      }
    });
  }

  it('delivers a full pipe whose writer has left', async (t) => {
    const { inPath, outPath } = makeFifos(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    const writer = fs.openSync(inPath, O_WRONLY | O_NONBLOCK);
    resize(writer, 1024 * 1024);
    const wire = frame(Buffer.alloc(1024 * 1024 - 4, 7));
    for (let sent = 0; sent < wire.length; ) sent += fs.writeSync(writer, wire, sent);
    fs.closeSync(writer);
    fs.rmSync(inPath);
    fs.rmSync(outPath);
    const channel = await connecting;
    assert.ok((await channel.read())?.equals(wire.subarray(4)));
    assert.equal(await channel.read(), null);
    await channel.close();
  });

  it('does not write to the next session while it holds the pipe of the last', async (t) => {
    const { inPath, outPath } = makeFifos(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    const old = fs.openSync(inPath, O_WRONLY | O_NONBLOCK);
    fs.writeSync(old, frame('old'));
    fs.rmSync(inPath);
    fs.rmSync(outPath);
    execFileSync('mkfifo', ['-m', '600', inPath, outPath]);
    const reader = openToRead(outPath);
    await untilRead(inPath);
    const peer = pipePeer({ inPath, outPath }, reader);
    const channel = await connecting;
    await peer.send(frame('new'));
    assert.equal(String(await channel.read()), 'new');
    fs.closeSync(old);
    await peer.destroy();
    await channel.close();
  });

  it('takes nobody for a reader whom it cannot see', async (t) => {
    const { inPath, outPath } = makeFifos(t);
    const reader = openToRead(outPath);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn(); // both are open
    fs.closeSync(reader);
    const open = t.mock.method(fs, 'openSync', (/** @type {any[]} */ ...args) => {
      if (!String(args[0]).startsWith('/proc/')) return Reflect.apply(openSync, fs, args);
      throw Object.assign(new Error('too many open files'), { code: 'EMFILE' });
    });
    const writer = openSync(inPath, O_WRONLY | O_NONBLOCK);
    let settled = false;
    void connecting.then(() => (settled = true));
    await until(() => open.mock.callCount() >= 3, 'looks for a reader');
    assert.equal(settled, false);
    open.mock.restore();
    const peer = openToRead(outPath);
    const channel = await connecting;
    fs.closeSync(writer);
    fs.closeSync(peer);
    await channel.close();
  });

  it('hands over at the deadline what it has taken out of the pipe', async (t) => {
    const paths = makeFifos(t);
    const connecting = connect({ ...paths, timeout: 50 });
    await turn();
    const writeFd = fs.openSync(paths.inPath, O_WRONLY | O_NONBLOCK);
    fs.writeSync(writeFd, frame('odd'));
    const channel = await connecting;
    assert.equal(String(await channel.read()), 'odd');
    fs.writeSync(writeFd, frame('more'));
    assert.equal(String(await channel.read()), 'more');
    fs.closeSync(writeFd);
    assert.equal(await channel.read(), null);
    await channel.close();
  });

  it('follows the names when the server replaces its FIFOs', async (t) => {
    const { directory, inPath, outPath } = makeFifos(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    fs.rmSync(inPath);
    fs.rmSync(outPath);
    await turn();
    execFileSync('mkfifo', ['-m', '600', inPath, outPath]);
    await untilRead(inPath);
    const peer = pipePeer({ inPath, outPath });
    const channel = await connecting;
    await peer.send(frame('new'));
    assert.equal(String(await channel.read()), 'new');
    await peer.destroy();
    await channel.close();
    assert.ok(fs.existsSync(directory));
  });

  it('does not join a session whose names have changed', async (t) => {
    // Only `in` is replaced; `out` still has a reader, so that both opens succeed.
    const { inPath, outPath } = makeFifos(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    fs.renameSync(inPath, `${inPath}.old`);
    execFileSync('mkfifo', ['-m', '600', inPath]);
    const reader = openToRead(outPath);
    await untilRead(inPath);
    const peer = pipePeer({ inPath, outPath }, reader);
    const channel = await connecting;
    assert.throws(() => fs.openSync(`${inPath}.old`, O_WRONLY | O_NONBLOCK), { code: 'ENXIO' });
    await peer.send(frame('right'));
    assert.equal(String(await channel.read()), 'right');
    await peer.destroy();
    await channel.close();
  });

  it('takes nobody for the server who only reads, or has only read', async (t) => {
    const { inPath, outPath } = makeFifos(t);
    const connecting = connect({ inPath, outPath, timeout: 100 });
    const refused = assert.rejects(connecting, { code: 'timeout', message: /both pipes open/ });
    const reader = openToRead(outPath);
    await turn();
    await new Promise((resolve) => setTimeout(resolve, 10));
    fs.closeSync(reader);
    const writer = fs.openSync(inPath, O_WRONLY | O_NONBLOCK);
    await refused;
    fs.closeSync(writer);
  });

  it('meets the server after a passer-by at each pipe', async (t) => {
    const paths = makeFifos(t);
    const meeting = connect({ ...paths, timeout: 60_000 });
    await turn();
    fs.closeSync(openToRead(paths.outPath));
    await untilRead(paths.inPath);
    const peer = pipePeer(paths);
    const channel = await meeting;
    await peer.send(frame('here'));
    assert.equal(String(await channel.read()), 'here');
    await peer.destroy();
    await channel.close();
  });

  it('delivers what a server left that came and went between two looks', async (t) => {
    const { inPath, outPath } = makeFifos(t);
    const reader = openToRead(outPath);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn(); // has opened both by now, and looks at the name of one of them from time to time
    const lstat = t.mock.method(fs, 'lstatSync', (/** @type {any[]} */ ...args) => {
      lstat.mock.restore();
      const writer = fs.openSync(inPath, O_WRONLY | O_NONBLOCK);
      fs.writeSync(writer, frame('quick'));
      fs.closeSync(writer);
      fs.closeSync(reader);
      fs.rmSync(inPath);
      fs.rmSync(outPath);
      return Reflect.apply(fs.lstatSync, fs, args);
    });
    const channel = await connecting;
    assert.equal(String(await channel.read()), 'quick');
    assert.equal(await channel.read(), null);
    await channel.close();
  });

  it('lets go of a pipe whose name has gone', async (t) => {
    const { inPath, outPath } = makeFifos(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    fs.renameSync(inPath, `${inPath}.old`);
    await until(() => !isRead(`${inPath}.old`), 'nobody reads the old pipe');
    fs.renameSync(`${inPath}.old`, inPath);
    const reader = openToRead(outPath);
    await untilRead(inPath);
    const peer = pipePeer({ inPath, outPath }, reader);
    const channel = await connecting;
    await peer.destroy();
    await channel.close();
  });

  it('brings nothing of an old pipe along', async (t) => {
    const { inPath, outPath } = makeFifos(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    const old = fs.openSync(inPath, O_WRONLY | O_NONBLOCK);
    fs.writeSync(old, frame('old'));
    await turn();
    fs.renameSync(inPath, `${inPath}.old`);
    await until(() => !isRead(`${inPath}.old`), 'nobody reads the old pipe');
    fs.closeSync(old);
    execFileSync('mkfifo', ['-m', '600', inPath]);
    await untilRead(inPath);
    const peer = pipePeer({ inPath, outPath }, openToRead(outPath));
    await peer.send(frame('new'));
    const channel = await connecting;
    assert.equal(String(await channel.read()), 'new');
    await peer.destroy();
    await channel.close();
  });

  it('serves five channels at once without a thread of the pool', async (t) => {
    const meetings = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const { channel, peer } = await meetAt(makeFifos(t));
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

  it('passes a large message through a pipe that holds 4 KiB', async (t) => {
    // Linux gives new pipes so little once a user has many; here the peer asks for it.
    const paths = makeFifos(t);
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

/** @param {string} fifo */
function isRead(fifo) {
  try {
    fs.closeSync(fs.openSync(fifo, O_WRONLY | O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}

/** @param {string} fifo */
function untilRead(fifo) {
  return until(() => isRead(fifo), 'somebody reads a FIFO');
}

/**
 * Node cannot set a pipe's capacity; a child that inherits the descriptor can.
 *
 * @param {number} fd
 * @param {number} size
 */
function resize(fd, size) {
  const code = `import fcntl; fcntl.fcntl(0, 1031, ${size})`;
  execFileSync('python3', ['-c', code], { stdio: [fd, 'ignore', 'inherit'] });
}
