import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { fromEnvironment, parseRendezvous } from '../lib/rendezvous.js';
import { casesOf } from '../testing/vectors.js';

describe('rendezvous vectors', () => {
  for (const vector of casesOf('rendezvous.json')) {
    // Covers RDV-1, RDV-2, RDV-3, RDV-4, RDV-5, RDV-6, RDV-60.
    it(vector.id, () => {
      const parse = () => parseRendezvous(vector.in, vector.out);
      if (vector.error) {
        assert.throws(parse, { name: 'IPCChannelError', code: vector.error });
        return;
      }
      const { id, note, covers, in: inPath, out: outPath, ...address } = vector;
      const found = parse();
      assert.equal(found.transport.name, vector.transport);
      const paths = {
        named_pipe: { inPath, outPath },
        unix: { path: inPath.slice('unix:'.length) },
        tcp: {},
      }[/** @type {'named_pipe' | 'unix' | 'tcp'} */ (vector.transport)];
      assert.deepEqual(found.address, { ...address, ...paths });
    });
  }
});

describe('environment vectors', () => {
  for (const vector of casesOf('environment.json')) {
    // Covers RDV-7, RDV-8.
    it(vector.id, () => {
      const find = () => fromEnvironment(vector.env);
      if (vector.error) {
        const message = new RegExp(vector.names ?? '');
        assert.throws(find, { name: 'IPCChannelError', code: vector.error, message });
        return;
      }
      assert.deepEqual(find(), { inPath: vector.in, outPath: vector.out });
    });
  }
});

describe('rendezvous', () => {
  // Beyond the specification: callers that pass something other than strings.
  it('refuses what is not a string', () => {
    for (const wrong of [undefined, null, 5000, Buffer.from('/a')]) {
      assert.throws(() => parseRendezvous(wrong, wrong), { code: 'bad-rendezvous' });
      assert.throws(() => parseRendezvous('/a', wrong), { code: 'bad-rendezvous' });
    }
  });

  // Beyond the specification: errors stay readable.
  it('shortens a string that is absurdly long', () => {
    assert.throws(
      () => parseRendezvous('x'.repeat(1e6), 'x'),
      (error) => String(error).length < 300,
    );
  });
});
