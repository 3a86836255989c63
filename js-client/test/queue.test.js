import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Queue } from '../lib/queue.js';

describe('queue', () => {
  // Beyond the specification: the data structure behind reads and writes.
  it('gives back in order, whatever was taken out of the middle', () => {
    /** @type {Queue<number>} */
    const queue = new Queue();
    const nodes = [0, 1, 2, 3, 4, 5].map((value) => queue.push(value));
    for (const index of [0, 3, 5]) assert.equal(queue.delete(nodes[index]), true);
    assert.equal(queue.delete(nodes[3]), false);
    assert.equal(queue.size, 3);
    assert.equal(queue.peek(), 1);
    queue.push(6);
    assert.deepEqual(
      [1, 2, 3, 4].map(() => queue.shift()),
      [1, 2, 4, 6],
    );
    assert.equal(queue.shift(), undefined);
    assert.equal(queue.peek(), undefined);
    assert.equal(queue.size, 0);
  });

  // Beyond the specification: the data structure behind reads and writes.
  it('can be emptied and filled again', () => {
    /** @type {Queue<string>} */
    const queue = new Queue();
    const node = queue.push('a');
    queue.push('b');
    queue.clear();
    assert.equal(queue.size, 0);
    assert.equal(queue.delete(node), false);
    queue.push('c');
    assert.equal(queue.shift(), 'c');
  });
});
