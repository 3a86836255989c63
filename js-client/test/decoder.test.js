import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Decoder } from '../lib/decoder.js';
import { frame } from '../testing/rig.js';
import { bytesOf, casesOf, messagesOf } from '../testing/vectors.js';

const DEFAULT_LIMIT = 64 * 1024 * 1024;
const MIB = 1024 * 1024;
const noMessage = () => assert.fail('no message is complete');
const FRAME_AFTER = Buffer.from('000000017a', 'hex');

/**
 * @param {Iterable<Buffer>} chunks
 * @param {number} [limit]
 */
function decode(chunks, limit = DEFAULT_LIMIT) {
  const decoder = new Decoder(limit);
  /** @type {Buffer[]} */
  const messages = [];
  for (const chunk of chunks) {
    decoder.push(chunk, (message) => messages.push(message));
    chunk.fill(0xee); // what the caller does with its buffer afterwards is no concern of ours
  }
  return { messages, end: decoder.endStream() };
}

/** @param {Buffer} wire */
function* byteByByte(wire) {
  for (const byte of wire) yield Buffer.from([byte]);
}

describe('vectors', () => {
  for (const vector of casesOf('frames.json')) {
    const wire = bytesOf(vector.wire);
    const messages = messagesOf(vector.messages);

    /**
     * @param {Iterable<Buffer>} chunks
     * @param {Buffer[]} expected
     */
    const check = (chunks, expected) => {
      const seen = decode(chunks, vector.max_message_size);
      assert.deepEqual(seen.messages, expected);
      assert.equal(seen.end.reason, vector.end_reason);
      assert.equal(seen.end.error?.code ?? null, vector.error);
    };

    // Covers FRM-1, FRM-2, FRM-3, FRM-5, FRM-8, FRM-10, SES-5.
    it(`${vector.id}: whole`, () => check([Buffer.from(wire)], messages));
    // Covers FRM-1, FRM-2, FRM-3, FRM-5, FRM-8, FRM-10, SES-5.
    it(`${vector.id}: byte by byte`, () => check(byteByByte(wire), messages));
    if (vector.end_reason === 'truncated') continue;
    // Covers FRM-1, FRM-2, FRM-3, FRM-5, FRM-8, SES-5.
    it(`${vector.id}: with a frame after`, () => {
      const more = vector.end_reason === 'eof' ? [Buffer.from('z')] : [];
      check([Buffer.concat([wire, FRAME_AFTER])], [...messages, ...more]);
    });
  }
});

describe('decoder', () => {
  // Covers FRM-2.
  it('gives the same at every split point of a three-frame stream', () => {
    const wire = Buffer.concat([frame('one'), frame('two!!'), frame(Buffer.alloc(300, 7))]);
    for (let at = 0; at <= wire.length; at += 1) {
      const { messages, end } = decode([
        Buffer.from(wire.subarray(0, at)),
        Buffer.from(wire.subarray(at)),
      ]);
      assert.deepEqual(messages, [Buffer.from('one'), Buffer.from('two!!'), Buffer.alloc(300, 7)]);
      assert.equal(end.reason, 'eof');
    }
  });

  // Covers FRM-10.
  it('says how far a cut frame came', () => {
    assert.match(String(decode([Buffer.alloc(3)]).end.error), /after 3 of the 4 header bytes/);
    const cut = frame(Buffer.alloc(100)).subarray(0, 14);
    assert.match(String(decode([cut]).end.error), /after 10 of the 100 payload bytes/);
  });

  // Covers FRM-8.
  it('names length and limit of a frame that is too large', () => {
    const { end } = decode([Buffer.from('ffffffff', 'hex')]);
    assert.match(String(end.error), /frame of 4294967295 bytes exceeds the limit of 67108864/);
  });

  // Covers FRM-9.
  it('takes no more than 1 MiB for a header, and later what has arrived', () => {
    const decoder = new Decoder(2 ** 32 - 1);
    decoder.push(Buffer.from('20000000', 'hex'), noMessage);
    assert.ok(decoder.allocated <= MIB);
    const chunk = Buffer.alloc(100_000);
    const before = process.memoryUsage.rss();
    for (let seen = chunk.length; seen < 20 * MIB; seen += chunk.length) {
      decoder.push(chunk, noMessage);
      if (seen <= MIB) assert.ok(decoder.allocated <= MIB);
    }
    // Address space that nothing was written to is no memory.
    const grown = process.memoryUsage.rss() - before;
    assert.ok(grown < 64 * MIB, `${grown} bytes for 20 MiB of 512`);
    assert.equal(decoder.endStream().reason, 'truncated');
    assert.equal(decoder.allocated, 0);
  });

  // Beyond the specification: the memory that a large message takes.
  it('gives a large message one buffer of its own size', () => {
    const payload = Buffer.alloc(16 * MIB + 5, 3);
    const [message] = decode([frame(payload)]).messages;
    assert.ok(message.equals(payload));
    const split = frame(payload);
    const [assembled] = decode([split.subarray(0, 1000), split.subarray(1000)]).messages;
    assert.ok(assembled.equals(payload));
    assert.equal(assembled.buffer.byteLength, payload.length);
  });

  // Beyond the specification: a small message keeps no larger buffer alive.
  it('gives every message memory of its own', () => {
    const chunk = Buffer.concat([frame('a'), frame('bc'), frame(Buffer.alloc(500_000))]);
    const [first, second] = decode([chunk]).messages;
    assert.equal(first.buffer.byteLength, 1);
    assert.equal(second.buffer.byteLength, 2);
  });

  for (const [what, length, part] of /** @type {const} */ ([
    ['at once', 100, 104],
    ['in parts', 2 * MIB, 1000],
  ])) {
    // Covers FRM-2, FRM-8, FRM-11.
    it(`ends at a frame that came ${what} and for which there is no memory`, (t) => {
      const decoder = new Decoder(2 ** 32 - 1);
      const wire = Buffer.concat([frame('fits'), frame(Buffer.alloc(length))]);
      /** @type {Buffer[]} */
      const messages = [];
      const take = (/** @type {Buffer} */ message) => messages.push(message);
      decoder.push(wire.subarray(0, 8), take);
      t.mock.method(Buffer, 'allocUnsafeSlow', () => {
        throw new RangeError('Array buffer allocation failed');
      });
      decoder.push(wire.subarray(8, 8 + part), take);
      assert.deepEqual(messages, [Buffer.from('fits')]);
      assert.equal(decoder.end?.reason, 'too_large');
      assert.equal(decoder.end?.error?.code, 'too-large');
      decoder.push(wire.subarray(8 + part), take);
      assert.equal(messages.length, 1);
    });
  }
});
