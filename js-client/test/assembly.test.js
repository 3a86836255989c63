import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Assembly } from '../lib/assembly.js';
import { pattern } from '../testing/rig.js';

const MIB = 1024 * 1024;

describe('assembly', () => {
  for (const size of [1, 5000, MIB - 1, MIB, MIB + 1, 3 * MIB + 7]) {
    // Covers FRM-2, FRM-9.
    it(`puts together ${size} bytes`, () => {
      const payload = pattern(size);
      const assembly = new Assembly(size);
      for (let offset = 0; offset < size; ) {
        const chunk = payload.subarray(offset, offset + 65_536);
        assert.equal(assembly.complete, false);
        assert.equal(assembly.take(chunk, 0), chunk.length);
        offset += chunk.length;
        assert.equal(assembly.allocated, offset <= MIB ? Math.min(size, MIB) : size);
      }
      assert.equal(assembly.complete, true);
      assert.ok(assembly.payload.equals(payload));
    });
  }

  // Covers FRM-2.
  it('leaves alone what belongs to the next frame', () => {
    const assembly = new Assembly(3);
    assert.equal(assembly.take(Buffer.from('xxabcyy'), 2), 5);
    assert.equal(String(assembly.payload), 'abc');
  });
});
