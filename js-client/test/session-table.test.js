// The vectors say what reads and writes give; the page also names the states.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, it } from 'node:test';

import { closed, peerGone, reset, tooLarge, truncated } from '../lib/end.js';
import { SessionState, TABLE } from '../lib/session-state.js';

/**
 * @typedef {import('../lib/session-state.js').Event} Event
 * @typedef {import('../lib/session-state.js').Phase} Phase
 * @typedef {{before: Phase, event: Event, after: Phase, end: string}} Row
 */

/** Events that the page describes below its table. @type {ReadonlySet<string>} */
const NODE_ONLY = new Set(['read-failed', 'frame-aborted']);

/** @type {Record<string, Event[]>} */
const EVENTS = {
  frame: ['frame'],
  'frame arrives': ['frame'],
  'close frame': ['close-frame'],
  'end of stream': ['end-at-boundary', 'end-inside-frame'],
  'end of stream at a boundary': ['end-at-boundary'],
  'end of stream inside a frame': ['end-inside-frame'],
  'end of stream at a boundary or inside a frame': ['end-at-boundary', 'end-inside-frame'],
  'over-limit header': ['over-limit'],
  'anything from the peer': [
    'frame',
    'close-frame',
    'over-limit',
    'end-at-boundary',
    'end-inside-frame',
  ],
  'reset met by a read': ['reset-on-read'],
  'reset met by a write': ['reset-on-write'],
  'peer gone met by a write': ['peer-gone-on-write'],
  'own close': ['close'],
  'all sent': ['all-sent'],
  'linger over': ['linger-over'],
};

/** How to get into a state; where the page has *R*, it is `truncated`. @type {Record<Phase, Event[]>} */
const WAYS = {
  open: [],
  ended: ['end-inside-frame'],
  unwritable: ['peer-gone-on-write'],
  'reset met': ['reset-on-write'],
  refused: ['over-limit'],
  over: ['end-inside-frame', 'peer-gone-on-write'],
  closing: ['end-inside-frame', 'close'],
  closed: ['end-inside-frame', 'close', 'all-sent'],
};

/** @type {Partial<Record<Event, import('../lib/errors.js').IPCChannelError | null>>} */
const ERRORS = {
  'end-inside-frame': truncated(1, 4, 'header').error,
  'over-limit': tooLarge(5, 4).error,
  'reset-on-read': reset(null),
  'reset-on-write': reset(null),
  'peer-gone-on-write': peerGone(null),
  'linger-over': closed(),
};

/** @returns {Row[]} */
function rowsOfPage() {
  const page = fs.readFileSync(new URL('../../spec/session.md', import.meta.url), 'utf8');
  const [, section] = page.split('## The states in full');
  return section
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => cells.length === 8 && cells[1] !== 'state' && !cells[1].startsWith('---'))
    .flatMap(([, before, events, after, , , end]) =>
      eventsOf(events).map((event) => ({
        before: phaseOf(before),
        event,
        after: phaseOf(after),
        end,
      })),
    );
}

/** @param {string} cell */
function eventsOf(cell) {
  const [names] = cell.split(' (');
  return names.split(', ').flatMap((name) => {
    assert.ok(name in EVENTS, `the page has an unknown event: ${name}`);
    return EVENTS[name];
  });
}

/** @param {string} cell */
function phaseOf(cell) {
  const name = cell.split(/[*`,]/)[0].trim();
  assert.ok(name in TABLE, `the page has an unknown state: ${cell}`);
  return /** @type {Phase} */ (name);
}

/** @param {Phase} phase */
function stateIn(phase) {
  const state = new SessionState({ size: 0 });
  for (const event of WAYS[phase]) state.on(event, ERRORS[event]);
  assert.equal(state.phase, phase);
  return state;
}

/**
 * @param {string} cell
 * @param {string | null} before the end reason that the page calls *R*
 */
function endAfter(cell, before) {
  if (cell === 'none') return null;
  return cell === '*R*' ? before : cell.replaceAll('`', '');
}

describe('the table of spec/session.md', () => {
  const rows = rowsOfPage();

  for (const { before, event, after, end } of rows) {
    // Covers SES-1, SES-4, SES-5.
    it(`${before}, ${event}`, () => {
      const state = stateIn(before);
      const expected = endAfter(end, state.endReason);
      state.on(event, ERRORS[event]);
      assert.deepEqual([state.phase, state.endReason], [after, expected]);
    });
  }

  // Beyond the specification: the page describes every state and event.
  it('has a row for each of ours', () => {
    const onPage = new Set(rows.map(({ before, event }) => `${before}, ${event}`));
    const missing = Object.entries(TABLE)
      .flatMap(([phase, byEvent]) => Object.keys(byEvent).map((event) => [phase, event]))
      .filter(([phase, event]) => !NODE_ONLY.has(event) && !onPage.has(`${phase}, ${event}`));
    assert.deepEqual(missing, []);
  });
});
