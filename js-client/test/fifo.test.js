import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

import {
  closeEnd,
  hasReader,
  inodeAt,
  openFifo,
  readNow,
  reopenToRead,
  sameInode,
} from '../lib/fifo.js';
import { makeFifos } from '../testing/fifos.js';
import { openDescriptors } from '../testing/rig.js';

/** @typedef {import('../lib/fifo.js').FifoEnd} FifoEnd */

/**
 * @param {string} path
 * @param {'read' | 'write'} end
 */
function mustOpen(path, end) {
  return /** @type {FifoEnd} */ (openFifo(path, end));
}

describe('fifo', () => {
  it('opens to write only where somebody reads', (t) => {
    const { inPath } = makeFifos(t);
    assert.equal(openFifo(inPath, 'write'), null);
    const reader = mustOpen(inPath, 'read');
    const writer = mustOpen(inPath, 'write');
    assert.ok(sameInode(reader.inode, writer.inode));
    assert.equal(hasReader(writer, inPath), true);
    closeEnd(reader);
    assert.equal(hasReader(writer, inPath), false);
    closeEnd(writer);
  });

  it('finds the FIFO again when its name has gone', {
    skip: !fs.existsSync('/proc/self/fd'),
  }, (t) => {
    const { inPath } = makeFifos(t);
    const reader = mustOpen(inPath, 'read');
    fs.rmSync(inPath);
    assert.equal(inodeAt(inPath), null);
    const again = /** @type {FifoEnd} */ (reopenToRead(reader, inPath));
    assert.equal(fs.fstatSync(again.fd).ino, fs.fstatSync(reader.fd).ino);
    closeEnd(again);
    closeEnd(reader);
  });

  it('refuses what took the place of a FIFO as it was opened', async (t) => {
    const { inPath } = makeFifos(t);
    const before = await openDescriptors();
    const open = t.mock.method(fs, 'openSync', (/** @type {any[]} */ ...args) => {
      open.mock.restore();
      fs.rmSync(inPath);
      fs.writeFileSync(inPath, 'precious');
      return Reflect.apply(fs.openSync, fs, args);
    });
    assert.throws(() => openFifo(inPath, 'read'), {
      code: 'bad-rendezvous',
      message: /not a FIFO/,
    });
    assert.equal(await openDescriptors(), before);
    assert.equal(fs.readFileSync(inPath, 'utf8'), 'precious');
  });

  it('tells what can never be from what may come', (t) => {
    const directory = path.dirname(makeFifos(t).inPath);
    assert.equal(inodeAt(`${directory}/missing`), null);
    assert.throws(() => inodeAt(`${directory}/${'x'.repeat(300)}`), { code: 'bad-rendezvous' });
  });

  it('knows nothing of a reader without a descriptor to look', (t) => {
    const { inPath } = makeFifos(t);
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

  it('tells nothing there from nothing left', (t) => {
    const { inPath } = makeFifos(t);
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

  it('never waits and never follows a link', (t) => {
    const { inPath, outPath } = makeFifos(t);
    fs.rmSync(outPath);
    fs.symlinkSync(inPath, outPath);
    for (const look of [() => inodeAt(outPath), () => openFifo(outPath, 'read')]) {
      assert.throws(look, { code: 'bad-rendezvous' });
    }
  });
});
