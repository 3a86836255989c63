import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

import {
  closeEnd,
  hasReader,
  inodeAt,
  openPipe,
  readNow,
  reopenToRead,
  sameInode,
} from '../lib/pipe-end.js';
import { makePipes } from '../testing/pipes.js';
import { openDescriptors } from '../testing/rig.js';

/** @typedef {import('../lib/pipe-end.js').PipeEnd} PipeEnd */

/**
 * @param {string} path
 * @param {'read' | 'write'} end
 */
function mustOpen(path, end) {
  return /** @type {PipeEnd} */ (openPipe(path, end));
}

describe('pipe', () => {
  // Covers RDV-22.
  it('opens a pipe for writing only if a process reads it', (t) => {
    const { inPath } = makePipes(t);
    assert.equal(openPipe(inPath, 'write'), null);
    const reader = mustOpen(inPath, 'read');
    const writer = mustOpen(inPath, 'write');
    assert.ok(sameInode(reader.inode, writer.inode));
    assert.equal(hasReader(writer, inPath), true);
    closeEnd(reader);
    assert.equal(hasReader(writer, inPath), false);
    closeEnd(writer);
  });

  // Beyond the specification: reopening a named pipe whose name has gone.
  it('finds the named pipe again when its name has gone', {
    skip: !fs.existsSync('/proc/self/fd'),
  }, (t) => {
    const { inPath } = makePipes(t);
    const reader = mustOpen(inPath, 'read');
    fs.rmSync(inPath);
    assert.equal(inodeAt(inPath), null);
    const again = /** @type {PipeEnd} */ (reopenToRead(reader, inPath));
    assert.equal(fs.fstatSync(again.fd).ino, fs.fstatSync(reader.fd).ino);
    closeEnd(again);
    closeEnd(reader);
  });

  // Covers RDV-21.
  it('refuses what took the place of a named pipe as it was opened', async (t) => {
    const { inPath } = makePipes(t);
    const before = await openDescriptors();
    const open = t.mock.method(fs, 'openSync', (/** @type {any[]} */ ...args) => {
      open.mock.restore();
      fs.rmSync(inPath);
      fs.writeFileSync(inPath, 'precious');
      return Reflect.apply(fs.openSync, fs, args);
    });
    assert.throws(() => openPipe(inPath, 'read'), {
      code: 'bad-rendezvous',
      message: /not a named pipe/,
    });
    assert.equal(await openDescriptors(), before);
    assert.equal(fs.readFileSync(inPath, 'utf8'), 'precious');
  });

  // Covers RDV-11, RDV-21.
  it('tells a path that can never work from a path that may still come', (t) => {
    const directory = path.dirname(makePipes(t).inPath);
    assert.equal(inodeAt(`${directory}/missing`), null);
    assert.throws(() => inodeAt(`${directory}/${'x'.repeat(300)}`), { code: 'bad-rendezvous' });
    assert.throws(() => openPipe(directory, 'write'), {
      code: 'bad-rendezvous',
      message: /EISDIR/,
    });
  });

  // Beyond the specification: a lack of descriptors says nothing about the peer.
  it('says nothing about a reader without a free descriptor to look', (t) => {
    const { inPath } = makePipes(t);
    const reader = mustOpen(inPath, 'read');
    const writer = mustOpen(inPath, 'write');
    const open = t.mock.method(fs, 'openSync', () => {
      throw Object.assign(new Error('too many open files'), { code: 'EMFILE' });
    });
    assert.equal(hasReader(writer, inPath), null);
    assert.throws(() => reopenToRead(reader, inPath), { code: 'EMFILE' });
    open.mock.restore();
    closeEnd(reader);
    closeEnd(writer);
  });

  // Beyond the specification: what a read of a named pipe can tell.
  it('tells an empty pipe from the end of a pipe', (t) => {
    const { inPath } = makePipes(t);
    const buffer = Buffer.alloc(10);
    const reader = mustOpen(inPath, 'read');
    assert.equal(readNow(reader.fd, buffer), 0);
    const writer = mustOpen(inPath, 'write');
    assert.equal(readNow(reader.fd, buffer), null);
    fs.writeSync(writer.fd, 'abc');
    assert.equal(readNow(reader.fd, buffer), 3);
    closeEnd(writer);
    assert.equal(readNow(reader.fd, buffer), 0);
    closeEnd(reader);
  });

  // Covers RDV-21.
  it('never waits and never follows a link', (t) => {
    const { inPath, outPath } = makePipes(t);
    fs.rmSync(outPath);
    fs.symlinkSync(inPath, outPath);
    for (const look of [() => inodeAt(outPath), () => openPipe(outPath, 'read')]) {
      assert.throws(look, { code: 'bad-rendezvous' });
    }
  });
});
