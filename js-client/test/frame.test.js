import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import vm from 'node:vm';

import { payloadOf } from '../lib/frame.js';

describe('frame', () => {
  // Beyond the specification: the types that a message may have.
  it('takes the bytes of a view, not its items', () => {
    const words = new Uint32Array([1, 2, 3]);
    assert.equal(payloadOf(words, 100).length, 12);
    assert.deepEqual(payloadOf(words.subarray(1, 2), 100), new Uint8Array(words.buffer, 4, 4));
  });

  // Beyond the specification: bytes from another realm.
  it('takes bytes of another realm', () => {
    const [view, buffer] = vm.runInNewContext('[new Uint8Array([1, 2]), new ArrayBuffer(3)]');
    assert.deepEqual([...payloadOf(view, 100)], [1, 2]);
    assert.equal(payloadOf(buffer, 100).length, 3);
  });

  // Covers FRM-4, ERR-1.
  it('refuses memory that was transferred', () => {
    const buffer = new ArrayBuffer(8);
    const view = new Uint8Array(buffer);
    structuredClone(buffer, { transfer: [buffer] });
    for (const gone of [buffer, view]) {
      assert.throws(() => payloadOf(gone, 100), { code: 'wrong-type', message: /transferred/ });
    }
    const shrunk = new /** @type {any} */ (ArrayBuffer)(8, { maxByteLength: 8 });
    const outside = new DataView(shrunk, 4, 4);
    shrunk.resize(6);
    assert.throws(() => payloadOf(outside, 100), { code: 'wrong-type', message: /shrunk/ });
    assert.throws(() => payloadOf(new ArrayBuffer(0), 100), { code: 'empty-message' });
    const none = new Uint8Array(8).subarray(3, 3);
    assert.throws(() => payloadOf(none, 100), { code: 'empty-message' });
  });

  // Covers ERR-1.
  it('says what it was given instead', () => {
    for (const [wrong, text] of /** @type {const} */ ([
      ['text', /a string \(use Buffer.from\(text\)\)/],
      [null, /not null/],
      [undefined, /not undefined/],
      [5, /not number/],
      [[1], /not Array/],
      [Object.create(null), /not an object/],
    ])) {
      assert.throws(() => payloadOf(wrong, 100), {
        name: 'TypeError',
        code: 'wrong-type',
        message: text,
      });
    }
  });
});
