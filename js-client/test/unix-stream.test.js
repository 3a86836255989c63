import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';

import { connect } from '../index.js';
import { makePipes } from '../testing/pipes.js';
import { startCode } from '../testing/process.js';
import { CLOSE_FRAME, frame, meetOverUnix, Peer, pattern, readToEnd } from '../testing/rig.js';
import { at, listenUnix, socketPath } from '../testing/sockets.js';
import { turn, until } from '../testing/wait.js';

/** @typedef {import('node:test').TestContext} TestContext */

// Elsewhere the system tells no reset from an end.
const onLinux = { skip: process.platform !== 'linux' };

describe('a session over a Unix socket', { skip: process.platform === 'win32' }, () => {
  // Covers SES-2, SES-5.
  it('reports a reset that came together with data', onLinux, async (t) => {
    for (let round = 0; round < 20; round += 1) {
      const { channel, peer } = await meetOverUnix(t);
      await channel.write(Buffer.from('never read'));
      await peer.send(frame('last'));
      await peer.destroy();
      assert.equal(String(await channel.read()), 'last');
      await assert.rejects(channel.read(), { code: 'reset' });
      assert.equal(channel.endReason, 'reset');
    }
  });

  // Covers SES-2, SES-5.
  it('reports a reset that came when all data had been read', onLinux, async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    await channel.write(Buffer.from('never read'));
    await peer.send(frame('last'));
    assert.equal(String(await channel.read()), 'last');
    const refused = assert.rejects(channel.read(), { code: 'reset' });
    await turn();
    await peer.destroy();
    await refused;
  });

  // Covers SES-2, SES-23.
  it('keeps what had arrived, and the reset, when a write fails', onLinux, async (t) => {
    for (let round = 0; round < 20; round += 1) {
      const { channel, peer } = await meetOverUnix(t);
      const write = assert.rejects(channel.write(pattern(32 * 1024 * 1024)), (error) =>
        ['peer-gone', 'reset'].includes(/** @type {any} */ (error).code),
      );
      await turn();
      await peer.send(frame('last'));
      await peer.destroy();
      await write;
      assert.equal(String(await channel.read()), 'last');
      await assert.rejects(channel.read(), { code: 'reset' });
    }
  });

  // Covers SES-2, SES-5.
  it('tells a reset from an end after its stream was ended', onLinux, async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    channel.stream().end();
    await until(() => /unsentMessages: 0/.test(inspect(channel)), 'the close frame');
    await peer.send(frame('last'));
    await peer.destroy();
    assert.equal(String(await channel.read()), 'last');
    await assert.rejects(channel.read(), { code: 'reset' });
  });

  // Covers SES-4, SES-5.
  it('calls an end an end while a write of ours waits', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    const write = channel.write(pattern(8 * 1024 * 1024));
    await peer.endWriting();
    assert.equal(await channel.read(), null);
    assert.equal(channel.endReason, 'eof');
    assert.equal((await peer.readFrame()).length, 8 * 1024 * 1024);
    await write;
  });

  // Covers SES-31.
  it('closes at once, with unread input and a peer that reads later', async (t) => {
    const { channel, peer } = await meetOverUnix(t, { linger: Infinity });
    await peer.send(pattern(100_000));
    await channel.write(Buffer.from('last'));
    await channel.close();
    assert.deepEqual(await peer.readAll(), Buffer.concat([frame('last'), CLOSE_FRAME]));
  });

  // Covers SES-32.
  it('ends both directions when it closes', async (t) => {
    const { server, file } = await listenUnix(t);
    server.removeAllListeners('connection'); // a peer that reports failed writes
    const accepted = once(server, 'connection');
    const channel = await connect(at(file));
    const [socket] = await accepted;
    await channel.close();
    assert.deepEqual(await new Peer(socket, socket).readAll(), CLOSE_FRAME);
    socket.write('x');
    await assert.rejects(once(socket, 'close'), { code: 'EPIPE' });
  });

  // Beyond the specification: an idle channel keeps no process alive.
  it('lets its process end', async (t) => {
    const { server, file } = await listenUnix(t);
    const accepted = once(server, 'connection');
    const code = `
      import { connect } from '${new URL('../index.js', import.meta.url)}';
      const [path] = process.argv.slice(1);
      const channel = await connect({ inPath: path, outPath: path });
      await channel.write(Buffer.from('left open'));
    `;
    const { ended } = startCode(t, code, `unix:${file}`);
    const [socket] = await accepted;
    assert.deepEqual(await socket.toArray().then(Buffer.concat), frame('left open'));
    assert.equal((await ended).code, 0);
    socket.destroy();
  });
});

describe('a server that leaves before this process looks', onLinux, () => {
  for (const [how, sent] of /** @type {const} */ ([
    ['end', 'hello'],
    ['end', ''],
    ['end of listening', ''],
  ])) {
    const end = how === 'end' ? { reason: 'eof', code: null } : { reason: 'reset', code: 'reset' };
    // Covers RDV-49, SES-2, SES-5.
    it(`was met: ${how} after "${sent}"`, async (t) => {
      for (let round = 0; round < 20; round += 1) {
        const { file, untilLeft } = await startLeaving(t, how, sent);
        const connecting = connect({ ...at(file), timeout: 0 });
        process.nextTick(untilLeft); // right after the system call
        const channel = await connecting;
        const { messages, error } = await readToEnd(channel);
        assert.deepEqual(messages.map(String), sent === '' ? [] : [sent]);
        assert.deepEqual([channel.endReason, error], [end.reason, end.code]);
        await channel.close();
      }
    });
  }
});

/**
 * A process that sends a message to its first client and leaves, or stops listening without accepting it.
 *
 * @param {TestContext} t
 * @param {'end' | 'end of listening'} how
 * @param {string} message
 */
async function startLeaving(t, how, message) {
  const file = socketPath(t);
  const { inPath: pipe } = makePipes(t);
  const code = `
import os, socket, sys
path, pipe, how, sent = sys.argv[1:]
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
told = os.open(pipe, os.O_WRONLY)
os.write(told, b'listening')
if how == 'end':
    client = server.accept()[0]
    client.sendall(bytes.fromhex(sent))
    client.close()
else:
    import select
    select.select([server], [], [])
    server.close()
os.write(told, b'left')
`;
  const wire = message === '' ? '' : frame(message).toString('hex');
  const values = ['-c', code, file, pipe, how, wire];
  const child = spawn('python3', values, { stdio: ['ignore', 'inherit', 'inherit'] });
  const fd = fs.openSync(pipe, 'r');
  const ended = once(child, 'close');
  t.after(async () => {
    fs.closeSync(fd);
    await ended;
  });
  fs.readSync(fd, Buffer.alloc(9));
  return { file, untilLeft: () => fs.readSync(fd, Buffer.alloc(4)) };
}
