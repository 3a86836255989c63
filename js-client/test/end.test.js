import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import {
  CLEAN,
  closed,
  doesNotFit,
  EOF,
  peerGone,
  reset,
  tooLarge,
  truncated,
} from '../lib/end.js';

describe('ends', () => {
  // Covers SES-5, ERR-1.
  it('are orderly or carry an error with a code of the table', () => {
    for (const end of [CLEAN, EOF]) assert.equal(end.error, null);
    const codes = [truncated(1, 4, 'header'), tooLarge(5, 4), doesNotFit(5, null)].map(
      ({ reason, error }) => [reason, error?.code],
    );
    assert.deepEqual(codes, [
      ['truncated', 'truncated'],
      ['too_large', 'too-large'],
      ['too_large', 'too-large'],
    ]);
  });

  // Covers ERR-1.
  it('have errors that keep their cause', () => {
    const cause = new Error('why');
    const errors = [reset(cause), peerGone(cause), closed('cut', cause)];
    const codes = errors.map((error) => error.code);
    assert.deepEqual(codes, ['reset', 'peer-gone', 'closed']);
    for (const error of errors) assert.equal(error.cause, cause);
    assert.equal('cause' in closed(), false);
  });
});

// Beyond the specification: the hint that the peer's limit may be smaller.
it('a peer that leaves after a message over the default limit may have refused it', () => {
  const { message } = peerGone(null, { lengthUnderWay: 0, lastLarge: 2 ** 26 + 1 });
  assert.match(
    message,
    /a message of 67108865 bytes may not have been read: if the peer's limit is smaller/,
  );
  assert.doesNotMatch(peerGone(null, { lengthUnderWay: 0, lastLarge: 2 ** 26 }).message, /limit/);
});
