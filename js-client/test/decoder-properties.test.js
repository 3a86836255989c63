// Needs the development dependencies (npm ci), and fails without them.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import { Decoder } from '../lib/decoder.js';
import { frame } from '../testing/rig.js';

const LIMIT = 1000;
const payload = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const cuts = fc.array(fc.nat(), { maxLength: 30 });

/**
 * @param {Buffer} wire
 * @param {number[]} cuts
 */
function split(wire, cuts) {
  const points = cuts.map((cut) => cut % (wire.length + 1)).sort((a, b) => a - b);
  return [0, ...points].map((from, index) => wire.subarray(from, points[index] ?? wire.length));
}

/**
 * @param {Buffer[]} chunks
 */
function decode(chunks) {
  const decoder = new Decoder(LIMIT);
  /** @type {Buffer[]} */
  const messages = [];
  for (const chunk of chunks) decoder.push(chunk, (message) => messages.push(message));
  return { messages, end: decoder.endStream() };
}

describe('decoder properties', () => {
  // Covers FRM-1, FRM-2, SES-5.
  it('gives back what was encoded, however it was cut', () => {
    fc.assert(
      fc.property(fc.array(payload, { maxLength: 20 }), cuts, (payloads, points) => {
        const { messages, end } = decode(split(Buffer.concat(payloads.map(frame)), points));
        assert.deepEqual(messages, payloads);
        assert.equal(end.reason, 'eof');
      }),
    );
  });

  // Covers FRM-2.
  it('gives the same for any bytes whole, cut and byte by byte', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), cuts, (bytes, points) => {
        const wire = Buffer.from(bytes.map((byte, index) => (index % 7 < 3 ? 0 : byte % 9)));
        const whole = decode([wire]);
        for (const chunks of [split(wire, points), [...wire].map((byte) => Buffer.from([byte]))]) {
          const seen = decode(chunks);
          assert.deepEqual(seen.messages, whole.messages);
          assert.equal(seen.end.reason, whole.end.reason);
          assert.equal(seen.end.error?.message, whole.end.error?.message);
        }
      }),
    );
  });

  // Covers FRM-10.
  it('calls a stream cut inside a frame truncated, and delivers what came before', () => {
    fc.assert(
      fc.property(fc.array(payload), payload, fc.nat(), (before, last, at) => {
        const whole = frame(last);
        const part = whole.subarray(0, 1 + (at % (whole.length - 1)));
        const { messages, end } = decode([Buffer.concat([...before.map(frame), part])]);
        assert.deepEqual(messages, before);
        assert.equal(end.reason, 'truncated');
      }),
    );
  });

  // Covers FRM-3, FRM-5.
  it('ignores whatever follows a close frame', () => {
    fc.assert(
      fc.property(fc.array(payload), fc.uint8Array(), cuts, (payloads, junk, points) => {
        const wire = Buffer.concat([...payloads.map(frame), Buffer.alloc(4), junk]);
        const { messages, end } = decode(split(wire, points));
        assert.deepEqual(messages, payloads);
        assert.equal(end.reason, 'clean');
      }),
    );
  });
});
