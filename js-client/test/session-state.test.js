import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { peerGone, reset, tooLarge, truncated } from '../lib/end.js';
import { IPCChannelError } from '../lib/errors.js';
import { Queue } from '../lib/queue.js';
import { SessionState } from '../lib/session-state.js';
import { casesOf } from '../testing/vectors.js';

/** @typedef {import('../lib/session-state.js').Event} Event */

/** @type {Partial<Record<Event, IPCChannelError | null>>} */
const ERRORS = {
  'end-inside-frame': truncated(1, 4, 'header').error,
  'over-limit': tooLarge(5, 4).error,
  'reset-on-read': reset(new Error('met by a read')),
  'read-failed': reset(new Error('met by a read')),
  'reset-on-write': reset(new Error('met by a write')),
  'peer-gone-on-write': peerGone(new Error('met by a write')),
  'frame-aborted': new IPCChannelError('closed', 'memory lost'),
};

/**
 * What each state means: whether the reader has an end, whether writes are refused, and whether accepted
 * output may be sent, which while closing depends on what came before.
 *
 * @type {Record<import('../lib/session-state.js').Phase, [boolean, boolean, boolean | null]>}
 */
const MEANING = {
  open: [false, false, true],
  ended: [true, false, true],
  unwritable: [false, true, false],
  'reset met': [false, true, false],
  refused: [true, true, true],
  over: [true, true, false],
  closing: [true, true, null],
  closed: [true, true, false],
};

/** A session without I/O: its state, and the messages that no reader has taken. */
class Model {
  #undelivered = new Queue();
  state = new SessionState(this.#undelivered);

  /** @param {Event} event */
  event(event) {
    if (event === 'frame' && this.state.end === null) this.#undelivered.push('a message');
    this.state.on(event, ERRORS[event]);
    if (event === 'close') this.#undelivered.clear();
    this.#checkMeaning();
  }

  #checkMeaning() {
    const { phase, end, refusal, sends } = this.state;
    const [hasEnd, refuses, maySend] = MEANING[phase];
    assert.deepEqual([end !== null, refusal !== null], [hasEnd, refuses], phase);
    if (maySend !== null) assert.equal(sends, maySend, phase);
  }

  read() {
    if (this.#undelivered.shift() !== undefined) return 'message';
    const { end } = this.state;
    if (end === null) return 'waits';
    if (end.error !== null) return end.error.code;
    return end.reason === 'local' ? 'local' : 'end';
  }

  write() {
    return this.state.refusal?.code ?? 'sends';
  }

  output() {
    return this.state.sends ? 'sent' : 'dropped';
  }

  end_reason() {
    return this.state.endReason;
  }
}

/** @param {Event[]} events */
function stateAfter(...events) {
  const model = new Model();
  for (const event of events) model.event(event);
  return model;
}

describe('session state', () => {
  for (const vector of casesOf('session.json')) {
    // Covers SES-1, SES-2, SES-3, SES-4, SES-5, SES-6, SES-24, SES-26, SES-30, SES-34, SES-36.
    it(vector.id, () => {
      const model = new Model();
      for (const [index, step] of vector.steps.entries()) {
        const [[kind, value]] = Object.entries(step);
        if (kind === 'event') model.event(value);
        else {
          const answer = model[/** @type {'read'} */ (kind)]();
          assert.ok([value].flat().includes(answer), `step ${index}: ${kind} gives ${answer}`);
        }
      }
    });
  }

  // Covers SES-5.
  it('leaves writing as it was when a read fails otherwise', () => {
    const model = stateAfter('read-failed');
    assert.deepEqual([model.read(), model.end_reason()], ['reset', 'reset']);
    assert.deepEqual([model.write(), model.output()], ['sends', 'sent']);
    assert.equal(model.state.phase, 'ended');
    const unwritable = stateAfter('peer-gone-on-write', 'read-failed');
    assert.deepEqual([unwritable.read(), unwritable.end_reason()], ['reset', 'reset']);
    assert.equal(unwritable.state.phase, 'over');
  });

  for (const [before, phase] of /** @type {[Event[], string][]} */ ([
    [[], 'unwritable'],
    [['close-frame'], 'over'],
    [['over-limit'], 'over'],
    [['close'], 'closing'],
  ])) {
    // Covers SES-36.
    it(`sends nothing behind a frame that was aborted after ${before[0] ?? 'nothing'}`, () => {
      const model = stateAfter(...before);
      const end = [model.read(), model.end_reason()];
      model.event('frame-aborted');
      assert.equal(model.state.phase, phase);
      assert.equal(model.output(), 'dropped');
      assert.equal(model.write(), before[0] === 'over-limit' ? 'too-large' : 'closed');
      assert.deepEqual([model.read(), model.end_reason()], end);
    });
  }

  // Beyond the specification: the name of the state, which inspect shows.
  it('is closing until all is freed, also after a failed write', () => {
    for (const event of /** @type {Event[]} */ (['reset-on-write', 'peer-gone-on-write'])) {
      assert.equal(stateAfter('close', event).state.phase, 'closing');
    }
  });

  // Covers SES-3.
  it('gives reads the reset that a write met', () => {
    for (const event of /** @type {Event[]} */ ([
      'end-at-boundary',
      'reset-on-read',
      'read-failed',
    ])) {
      const { state } = stateAfter('reset-on-write', event);
      assert.equal(state.phase, 'over');
      assert.deepEqual(state.end, { reason: 'reset', error: ERRORS['reset-on-write'] });
    }
  });
});
