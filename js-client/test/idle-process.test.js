import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, it } from 'node:test';

import { makePipes, openToRead, openToWrite } from '../testing/pipes.js';
import { startCode } from '../testing/process.js';
import { until } from '../testing/wait.js';

/**
 * A program with a channel. Its server, this process, stays, so only the program itself can end it.
 *
 * @param {import('node:test').TestContext} t
 * @param {string} code what it does with `channel`
 */
async function programWithChannel(t, code) {
  const { inPath, outPath } = makePipes(t);
  const readFd = openToRead(outPath);
  const program = startCode(
    t,
    `
      import fs from 'node:fs';
      import { connect } from '${new URL('../index.js', import.meta.url)}';
      const [inPath, outPath] = process.argv.slice(1);
      const channel = await connect({ inPath, outPath, timeout: 60_000 });
      ${code}
    `,
    inPath,
    outPath,
  );
  let writeFd = -1;
  await until(() => {
    try {
      writeFd = openToWrite(inPath);
    } catch {
      // It has not come yet.
    }
    return writeFd >= 0;
  }, 'a program that opens its pipes');
  return { ...program, inPath, readFd, writeFd };
}

describe('a process with a channel that it no longer uses', () => {
  // Beyond the specification: an aborted read keeps no process alive.
  it('ends after a read was aborted', async (t) => {
    const { ended, readFd, writeFd } = await programWithChannel(
      t,
      `
        const leaving = new AbortController();
        const read = channel.read({ signal: leaving.signal });
        setTimeout(() => leaving.abort(), 20);
        await read.catch((error) => console.log(error.name));
      `,
    );
    const { code, output } = await ended;
    assert.deepEqual([code, output], [0, 'AbortError\n']);
    fs.closeSync(readFd);
    fs.closeSync(writeFd);
  });

  // Covers SES-23, SES-26.
  it('ends after a write has failed', async (t) => {
    const { said, ended, readFd, writeFd } = await programWithChannel(
      t,
      `
        const write = channel.write(Buffer.alloc(2 ** 20));
        console.log('writing');
        await write.catch((error) => console.log(error.code));
      `,
    );
    await said('writing');
    fs.closeSync(readFd);
    const { code, output } = await ended;
    assert.deepEqual([code, output], [0, 'writing\npeer-gone\n']);
    fs.closeSync(writeFd);
  });

  // Beyond the specification: looking for a peer keeps no process alive.
  it('ends although it looks after a peer that may have passed by', async (t) => {
    const { said, ended, inPath, readFd, writeFd } = await programWithChannel(
      t,
      `
        await new Promise(setImmediate); // the channel no longer keeps the process alive
        await new Promise(setImmediate);
        console.log('connected');
        const waiting = setInterval(() => {
          if (fs.existsSync(inPath + '.passed')) clearInterval(waiting);
        }, 50);
      `,
    );
    await said('connected');
    fs.closeSync(writeFd);
    fs.writeFileSync(`${inPath}.passed`, '');
    const { code } = await ended;
    assert.equal(code, 0);
    fs.closeSync(readFd);
  });
});
