import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { AbortError, IPCChannelError, WrongTypeError } from '../index.js';
import { systemCode } from '../lib/errors.js';

describe('errors', () => {
  // Beyond the specification: the class of all errors.
  it('carry a code, a message and a cause', () => {
    const cause = new Error('below');
    const error = new IPCChannelError('reset', 'why', { cause });
    assert.ok(error instanceof Error);
    assert.deepEqual([error.name, error.code, error.message], ['IPCChannelError', 'reset', 'why']);
    assert.equal(error.cause, cause);
    assert.match(String(error.stack), /^IPCChannelError: why/);
  });

  // Covers ERR-1.
  it('of a wrong type are TypeErrors', () => {
    const error = new WrongTypeError('why');
    assert.ok(error instanceof TypeError);
    assert.equal(error.code, 'wrong-type');
  });

  // Beyond the specification: an AbortError like Node's own.
  it('of an abort look like those of Node', () => {
    const error = new AbortError('reason');
    assert.deepEqual([error.name, error.code, error.cause], ['AbortError', 'ABORT_ERR', 'reason']);
  });

  // Beyond the specification: how the code of a system error is found.
  it('of the system are told by their code', () => {
    assert.equal(systemCode(Object.assign(new Error(), { code: 'EPIPE' })), 'EPIPE');
    for (const none of [null, undefined, new Error()]) assert.equal(systemCode(none), undefined);
  });
});
