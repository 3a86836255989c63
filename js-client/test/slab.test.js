import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Slab } from '../lib/slab.js';
import { pattern } from '../testing/rig.js';

describe('slab', () => {
  it('gives copies that do not touch each other', () => {
    const slab = new Slab();
    const source = pattern(10_000);
    const sizes = Array.from({ length: 500 }, (_, index) => 1 + ((index * 97) % 3000));
    const copies = sizes.map((size, index) => slab.copy(source, index, index + size));
    source.fill(0);
    copies.forEach((copy, index) => {
      assert.ok(copy.equals(pattern(10_000).subarray(index, index + sizes[index])), `${index}`);
      assert.equal(copy.byteOffset % 8, 0);
      assert.ok(copy.buffer.byteLength <= Math.max(8192, copy.length));
    });
  });

  it('shares memory between small copies only', () => {
    const slab = new Slab();
    const source = pattern(3000);
    assert.equal(slab.copy(source, 0, 10).buffer, slab.copy(source, 0, 2048).buffer);
    assert.equal(slab.copy(source, 0, 2049).buffer.byteLength, 2049);
  });

  it('keeps its memory when one copy is transferred', () => {
    const slab = new Slab();
    const source = pattern(100);
    const [copy, neighbour] = [slab.copy(source, 0, 50), slab.copy(source, 50, 100)];
    try {
      structuredClone(copy, { transfer: [/** @type {ArrayBuffer} */ (copy.buffer)] });
    } catch (error) {
      // Node 20 copies instead.
      assert.equal(/** @type {Error} */ (error).name, 'DataCloneError');
    }
    assert.ok(neighbour.equals(source.subarray(50)));
  });
});
