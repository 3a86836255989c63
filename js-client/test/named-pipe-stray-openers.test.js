// Stray openers while the server is not there. RDV-10, RDV-28
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import { makePipes, openToRead, openToWrite, untilRead, untilWritten } from '../testing/pipes.js';
import { openDescriptors, pipePeer } from '../testing/rig.js';
import { turn, until } from '../testing/wait.js';

/**
 * Lets something happen right after a look that a client takes at its pipes, for a reader or for input.
 *
 * @param {import('node:test').TestContext} t
 * @param {number} count the number of the look, from 1 on
 * @param {() => void} happens
 */
function afterLooks(t, count, happens) {
  const { openSync, readSync } = fs;
  let looks = 0;
  /** @param {() => unknown} look */
  const looking = (look) => {
    try {
      return look();
    } finally {
      looks += 1;
      if (looks === count) happens();
    }
  };
  t.mock.method(fs, 'openSync', (/** @type {any[]} */ ...args) => {
    const open = () => Reflect.apply(openSync, fs, args);
    return String(args[0]).startsWith('/proc/') ? looking(open) : open();
  });
  t.mock.method(fs, 'readSync', (/** @type {any[]} */ ...args) =>
    looking(() => Reflect.apply(readSync, fs, args)),
  );
  return { looks: () => looks };
}

describe('stray openers at named pipes', () => {
  for (const first of ['reads', 'writes']) {
    for (const count of [1, 2]) {
      const title = `are no server if the first ${first} and leaves as the second comes, after look ${count}`;
      // Covers RDV-28, RDV-29.
      it(title, { skip: process.platform !== 'linux' }, async (t) => {
        const { inPath, outPath } = makePipes(t);
        let held = openToRead(outPath);
        const connecting = connect({ inPath, outPath, timeout: 60_000 });
        await untilRead(inPath);
        await turn(); // both are open
        if (first === 'writes') {
          fs.closeSync(held);
          held = openToWrite(inPath);
        }
        let settled = false;
        void connecting.then(() => (settled = true));
        const { looks } = afterLooks(t, count, () => {
          fs.closeSync(held);
          t.mock.restoreAll();
          held = first === 'reads' ? openToWrite(inPath) : openToRead(outPath);
        });
        await until(() => looks() >= count, 'a look');
        await turn();
        assert.equal(settled, false);
        fs.closeSync(held);
        const reader = openToRead(outPath);
        const peer = pipePeer({ inPath, outPath }, reader);
        const channel = await connecting;
        await peer.destroy();
        await channel.close();
      });
    }
  }

  for (const how of ['timeout', 'abort']) {
    // Covers RDV-10.
    it(`leave nothing open at a ${how}, although a process reads`, async (t) => {
      const { inPath, outPath } = makePipes(t);
      const reader = openToRead(outPath);
      const before = await openDescriptors();
      const controller = new AbortController();
      const { signal } = controller;
      const connecting = connect({
        inPath,
        outPath,
        timeout: how === 'timeout' ? 30 : 60_000,
        signal,
      });
      const failed = assert.rejects(connecting, {
        code: how === 'timeout' ? 'timeout' : 'ABORT_ERR',
      });
      if (how === 'abort') {
        await untilWritten(reader);
        controller.abort();
      }
      await failed;
      assert.equal(await openDescriptors(), before);
      assert.equal(fs.readSync(reader, Buffer.alloc(1)), 0); // and not EAGAIN: no process has it open for writing
      assert.throws(() => openToWrite(inPath), { code: 'ENXIO' });
      fs.closeSync(reader);
    });
  }
});
