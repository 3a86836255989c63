import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import { makePipes, openToRead, openToWrite } from '../testing/pipes.js';
import { startCode } from '../testing/process.js';
import { CLOSE_FRAME, frame, meetOverPipes } from '../testing/rig.js';
import { turn, until } from '../testing/wait.js';

/**
 * A channel to a server that has opened only its read end: the channel took the write end of a stray
 * opener for the server's.
 *
 * @param {import('node:test').TestContext} t
 */
async function halfMet(t) {
  const paths = makePipes(t);
  const readFd = openToRead(paths.outPath);
  const connecting = connect({ ...paths, timeout: 60_000 });
  await turn();
  const writeFd = openToWrite(paths.inPath);
  const channel = await connecting;
  fs.closeSync(writeFd);
  t.after(() => channel.close());
  return { ...paths, readFd, channel };
}

/** @param {string} pipe */
function openStray(pipe) {
  fs.closeSync(openToWrite(pipe));
}

describe('a session over named pipes', () => {
  // Covers RDV-26.
  it('sees no false end before the server opens its write end', async (t) => {
    const { channel, readFd, inPath } = await halfMet(t);
    const read = channel.read();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const writeFd = openToWrite(inPath);
    fs.writeSync(writeFd, frame('late'));
    assert.equal(String(await read), 'late');
    fs.closeSync(writeFd);
    assert.equal(await channel.read(), null);
    assert.equal(channel.endReason, 'eof');
    fs.closeSync(readFd);
  });

  // Covers RDV-26.
  it('survives stray openers before the first byte', async (t) => {
    const { channel, readFd, inPath } = await halfMet(t);
    const read = channel.read();
    for (let count = 0; count < 5; count += 1) {
      openStray(inPath);
      await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal(channel.endReason, null);
    }
    const writeFd = openToWrite(inPath);
    fs.writeSync(writeFd, frame('here'));
    assert.equal(String(await read), 'here');
    fs.closeSync(writeFd);
    assert.equal(await channel.read(), null);
    fs.closeSync(readFd);
  });

  // Covers RDV-26, SES-5.
  it('sees the end of a server that leaves without a byte', async (t) => {
    const { channel, peer } = await meetOverPipes(t);
    const read = channel.read();
    await turn();
    await peer.destroy();
    assert.equal(await read, null);
    assert.equal(channel.endReason, 'eof');
  });

  // Covers RDV-26, RDV-31.
  it('sees the end of a server that closed its write end first', async (t) => {
    const { channel, readFd, inPath } = await halfMet(t);
    const read = channel.read();
    openStray(inPath);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(channel.endReason, null);
    fs.closeSync(readFd); // no event reports this
    assert.equal(await read, null);
    assert.equal(channel.endReason, 'eof');
  });

  // Covers RDV-26, SES-2.
  it('takes the last words of a server that came after a stray opener', async (t) => {
    const { channel, readFd, inPath } = await halfMet(t);
    openStray(inPath);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await turn(); // the event loop comes to its timers before its sockets from here
    const writeFd = openToWrite(inPath);
    fs.writeSync(writeFd, Buffer.concat([frame('last'), frame('words')]));
    fs.closeSync(writeFd);
    fs.closeSync(readFd);
    // Long enough for the timer that looks after the peer to be due.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    assert.equal(String(await channel.read()), 'last');
    assert.equal(String(await channel.read()), 'words');
    assert.equal(await channel.read(), null);
  });

  // Beyond the specification: no descriptor is touched that now belongs to something else.
  it('looks no more after an end', async (t) => {
    const { channel, readFd, inPath } = await halfMet(t);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const writeFd = openToWrite(inPath);
    await new Promise((resolve) => setTimeout(resolve, 150)); // by now it looks every 100 ms
    fs.closeSync(readFd);
    fs.closeSync(writeFd);
    assert.equal(await channel.read(), null);
    // What is open under the same number now is not ours.
    const file = path.join(path.dirname(inPath), 'file');
    fs.writeFileSync(file, 'ABCDEF');
    const fds = Array.from({ length: 20 }, () => fs.openSync(file, 'r'));
    await new Promise((resolve) => setTimeout(resolve, 250)); // longer than between two looks
    for (const fd of fds) {
      assert.equal(fs.readFileSync(fd, 'utf8'), 'ABCDEF');
      fs.closeSync(fd);
    }
  });

  // Covers RDV-26.
  it('does not take a server for gone that came as it looked', async (t) => {
    const { inPath, outPath } = makePipes(t);
    const readFd = openToRead(outPath);
    const connecting = connect({ inPath, outPath, timeout: 60_000 });
    await turn();
    const strayOpener = openToWrite(inPath);
    const channel = await connecting;
    t.after(() => channel.close());
    let server = -1;
    const exists = t.mock.method(fs, 'existsSync', (/** @type {string} */ name) => {
      exists.mock.restore();
      server = openToWrite(inPath);
      fs.writeSync(server, frame('half').subarray(0, 6));
      return fs.existsSync(name);
    });
    const read = channel.read();
    fs.closeSync(readFd);
    fs.closeSync(strayOpener);
    await until(() => server >= 0, 'a look for a reader');
    const reader = openToRead(outPath);
    fs.writeSync(server, frame('half').subarray(6));
    assert.equal(String(await read), 'half');
    fs.closeSync(server);
    assert.equal(await channel.read(), null);
    fs.closeSync(reader);
  });

  // Covers SES-5.
  it('takes a lack of descriptors for no end, and can still write', async (t) => {
    const { channel, readFd } = await halfMet(t);
    const open = t.mock.method(fs, 'openSync', () => {
      throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' });
    });
    await assert.rejects(channel.read(), { code: 'reset', message: /too many open files/ });
    open.mock.restore();
    await channel.write(Buffer.from('x'));
    await channel.close();
    const got = Buffer.alloc(100);
    const count = fs.readSync(readFd, got);
    assert.deepEqual(got.subarray(0, count), Buffer.concat([frame('x'), CLOSE_FRAME]));
    fs.closeSync(readFd);
  });

  // Covers SES-4.
  it('goes on writing for long after the peer has ended its direction', async (t) => {
    const { channel, peer } = await meetOverPipes(t);
    /** @type {Error[]} */
    const warnings = [];
    const warn = (/** @type {Error} */ warning) => warnings.push(warning);
    process.on('warning', warn);
    await peer.send(frame('last'));
    await peer.endWriting();
    assert.equal(String(await channel.read()), 'last');
    assert.equal(await channel.read(), null);
    for (let count = 0; count < 30; count += 1) {
      await channel.write(Buffer.from('x'));
      await peer.readFrame();
      await turn();
    }
    process.off('warning', warn);
    assert.deepEqual(warnings, []);
  });

  // Covers FRM-3, SES-5.
  it('ends at the close frame although a third writer stays', async (t) => {
    const { channel, peer } = await meetOverPipes(t);
    await peer.send(Buffer.concat([frame('one'), CLOSE_FRAME]));
    assert.equal(String(await channel.read()), 'one');
    assert.equal(await channel.read(), null);
    assert.equal(channel.endReason, 'clean');
  });

  // Covers SES-23, SES-24.
  it('goes on receiving when the peer no longer reads', async (t) => {
    const { channel, peer } = await meetOverPipes(t);
    peer.stopReading();
    await turn();
    await assert.rejects(channel.write(Buffer.from('x')), { code: 'peer-gone' });
    await peer.send(frame('still here'));
    assert.equal(String(await channel.read()), 'still here');
    await peer.send(CLOSE_FRAME);
    assert.equal(await channel.read(), null);
    assert.equal(channel.endReason, 'clean');
  });

  for (const [what, bytes, reason, error] of /** @type {const} */ ([
    ['between frames', frame('whole'), 'eof', null],
    [
      'inside a frame',
      Buffer.concat([frame('whole'), frame('cut').subarray(0, 6)]),
      'truncated',
      'truncated',
    ],
  ])) {
    // Covers FRM-10, SES-5.
    it(`sees a server that is killed ${what}`, async (t) => {
      const paths = makePipes(t);
      const code = `
        import fs from 'node:fs';
        const [inPath, outPath, hex] = process.argv.slice(1);
        const readFd = fs.openSync(outPath, 'r');
        fs.writeSync(fs.openSync(inPath, 'w'), Buffer.from(hex, 'hex'));
        process.kill(process.pid, 'SIGSTOP');
      `;
      const { child } = startCode(t, code, paths.inPath, paths.outPath, bytes.toString('hex'));
      const channel = await connect({ ...paths, timeout: 60_000 });
      assert.equal(String(await channel.read()), 'whole');
      const read = channel.read();
      child.kill('SIGKILL');
      if (error === null) assert.equal(await read, null);
      else await assert.rejects(read, { code: error });
      assert.equal(channel.endReason, reason);
      await channel.close();
    });
  }
});
