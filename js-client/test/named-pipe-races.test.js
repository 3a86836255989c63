import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import {
  isRead,
  makeAt,
  makePipes,
  openToRead,
  openToWrite,
  remove,
  replace,
  resize,
  untilRead,
  untilWritten,
} from '../testing/pipes.js';
import { frame, pipePeer, readToEnd } from '../testing/rig.js';
import { turn, until } from '../testing/wait.js';

const { openSync, readSync } = fs;

/**
 * Waits until a client that waits has looked so often whether there is input.
 *
 * @param {import('node:test').TestContext} t
 * @param {number} count
 */
async function tries(t, count) {
  const read = t.mock.method(fs, 'readSync', (/** @type {any[]} */ ...args) =>
    Reflect.apply(readSync, fs, args),
  );
  await until(() => read.mock.callCount() > count, 'looks for input');
  read.mock.restore();
}

describe('connecting over named pipes while their peer comes and goes', () => {
  for (const next of [false, true]) {
    const when = next ? ', with the next session at its names' : '';
    // Covers RDV-23, RDV-25, SES-26.
    it(`delivers what a server left that came, wrote and went before${when}`, async (t) => {
      const paths = makePipes(t);
      const connecting = connect({ ...paths, timeout: 60_000 });
      await turn(); // has opened its read end by now
      const writeFd = openToWrite(paths.inPath);
      fs.writeSync(writeFd, Buffer.concat([frame('one'), frame('two')]));
      fs.closeSync(writeFd);
      // A server that leaves removes its pipes.
      remove(paths);
      let reader = -1;
      if (next) {
        makeAt(paths.inPath, paths.outPath);
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

  // Covers RDV-25.
  it('delivers what is in a full pipe after its writer has left', async (t) => {
    const { inPath, outPath } = makePipes(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    const writer = openToWrite(inPath);
    resize(writer, 1024 * 1024);
    const wire = frame(Buffer.alloc(1024 * 1024 - 4, 7));
    for (let sent = 0; sent < wire.length; ) sent += fs.writeSync(writer, wire, sent);
    fs.closeSync(writer);
    remove({ inPath, outPath });
    const channel = await connecting;
    assert.ok((await channel.read())?.equals(wire.subarray(4)));
    assert.equal(await channel.read(), null);
    await channel.close();
  });

  // Covers RDV-23.
  it('does not write to the next session while it holds the pipe of the last', async (t) => {
    const { inPath, outPath } = makePipes(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    const old = openToWrite(inPath);
    fs.writeSync(old, frame('old'));
    replace({ inPath, outPath });
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

  // Covers RDV-28, RDV-29.
  it('counts on no reader that it cannot see', async (t) => {
    const { inPath, outPath } = makePipes(t);
    const reader = openToRead(outPath);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await untilRead(inPath);
    await turn(); // both are open
    fs.closeSync(reader);
    const open = t.mock.method(fs, 'openSync', (/** @type {any[]} */ ...args) => {
      if (!String(args[0]).startsWith('/proc/')) return Reflect.apply(openSync, fs, args);
      throw Object.assign(new Error('too many open files'), { code: 'EMFILE' });
    });
    const writer = openToWrite(inPath);
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

  // Beyond the specification: no byte that was read is lost at the deadline.
  it('hands over at the deadline what it has taken out of the pipe', async (t) => {
    const paths = makePipes(t);
    const connecting = connect({ ...paths, timeout: 1000 });
    await turn();
    const writeFd = openToWrite(paths.inPath);
    fs.writeSync(writeFd, frame('odd'));
    const channel = await connecting;
    assert.equal(String(await channel.read()), 'odd');
    fs.writeSync(writeFd, frame('more'));
    assert.equal(String(await channel.read()), 'more');
    fs.closeSync(writeFd);
    assert.equal(await channel.read(), null);
    await channel.close();
  });

  // Covers RDV-23.
  it('follows the names when the server replaces its named pipes', async (t) => {
    const { inPath, outPath } = makePipes(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    remove({ inPath, outPath });
    await turn();
    makeAt(inPath, outPath);
    await untilRead(inPath);
    const peer = pipePeer({ inPath, outPath });
    const channel = await connecting;
    await peer.send(frame('new'));
    assert.equal(String(await channel.read()), 'new');
    await peer.destroy();
    await channel.close();
    assert.ok(fs.existsSync(path.dirname(inPath)));
  });

  // Covers RDV-23.
  it('does not join a session after its paths have changed', async (t) => {
    // Only `in` is replaced; `out` still has a reader, so that both opens succeed.
    const { inPath, outPath } = makePipes(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    fs.renameSync(inPath, `${inPath}.old`);
    makeAt(inPath);
    const reader = openToRead(outPath);
    await untilRead(inPath);
    const peer = pipePeer({ inPath, outPath }, reader);
    const channel = await connecting;
    assert.throws(() => openToWrite(`${inPath}.old`), { code: 'ENXIO' });
    await peer.send(frame('right'));
    assert.equal(String(await channel.read()), 'right');
    await peer.destroy();
    await channel.close();
  });

  // Covers RDV-9, RDV-28.
  it('takes no process for the server that only reads, or has only read', async (t) => {
    const { inPath, outPath } = makePipes(t);
    const connecting = connect({ inPath, outPath, timeout: 100 });
    const refused = assert.rejects(connecting, {
      code: 'timeout',
      message: /no process has .*in open for writing/,
    });
    const reader = openToRead(outPath);
    await turn();
    await new Promise((resolve) => setTimeout(resolve, 10));
    fs.closeSync(reader);
    const writer = openToWrite(inPath);
    await refused;
    fs.closeSync(writer);
  });

  // Covers RDV-28, RDV-29.
  it('meets the server after a stray opener at each pipe', async (t) => {
    const paths = makePipes(t);
    const connecting = connect({ ...paths, timeout: 60_000 });
    let settled = false;
    void connecting.then(() => (settled = true));
    const reader = openToRead(paths.outPath);
    await untilWritten(reader);
    fs.closeSync(reader);
    await tries(t, 2);
    const writer = openToWrite(paths.inPath);
    await tries(t, 2);
    fs.closeSync(writer);
    await tries(t, 2);
    assert.equal(settled, false);
    const peer = pipePeer(paths);
    const channel = await connecting;
    await peer.send(frame('here'));
    assert.equal(String(await channel.read()), 'here');
    await peer.destroy();
    await channel.close();
  });

  // Covers RDV-23, RDV-25.
  it('delivers what a server left that came and went between two looks', async (t) => {
    const { inPath, outPath } = makePipes(t);
    const reader = openToRead(outPath);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn(); // has opened both by now, and looks at the name of one of them from time to time
    const lstat = t.mock.method(fs, 'lstatSync', (/** @type {any[]} */ ...args) => {
      lstat.mock.restore();
      const writer = openToWrite(inPath);
      fs.writeSync(writer, frame('quick'));
      fs.closeSync(writer);
      fs.closeSync(reader);
      remove({ inPath, outPath });
      return Reflect.apply(fs.lstatSync, fs, args);
    });
    const channel = await connecting;
    assert.equal(String(await channel.read()), 'quick');
    assert.equal(await channel.read(), null);
    await channel.close();
  });

  // Covers RDV-23.
  it('closes a pipe after its path has gone', async (t) => {
    const { inPath, outPath } = makePipes(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    fs.renameSync(inPath, `${inPath}.old`);
    await until(() => !isRead(`${inPath}.old`), 'no process reads the old pipe');
    fs.renameSync(`${inPath}.old`, inPath);
    const reader = openToRead(outPath);
    await untilRead(inPath);
    const peer = pipePeer({ inPath, outPath }, reader);
    const channel = await connecting;
    await peer.destroy();
    await channel.close();
  });

  // Covers RDV-23.
  it('delivers nothing of an old pipe', async (t) => {
    const { inPath, outPath } = makePipes(t);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    const old = openToWrite(inPath);
    fs.writeSync(old, frame('old'));
    await turn();
    fs.renameSync(inPath, `${inPath}.old`);
    await until(() => !isRead(`${inPath}.old`), 'no process reads the old pipe');
    fs.closeSync(old);
    makeAt(inPath);
    await untilRead(inPath);
    const peer = pipePeer({ inPath, outPath }, openToRead(outPath));
    await peer.send(frame('new'));
    const channel = await connecting;
    assert.equal(String(await channel.read()), 'new');
    await peer.destroy();
    await channel.close();
  });
});
