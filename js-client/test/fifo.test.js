import assert from 'node:assert/strict';
import fs from 'node:fs';
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
import { makeFifos } from '../testing/rig.js';

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
