import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import { TCPStream } from '../lib/tcp-stream.js';
import { makePipes } from '../testing/pipes.js';
import { startCode } from '../testing/process.js';
import { CLOSE_FRAME, frame, listen, meetOverTCP, pattern, readToEnd } from '../testing/rig.js';
import { turn } from '../testing/wait.js';

// Elsewhere Node cannot tell that the peer has taken all.
const onLinux = { skip: process.platform !== 'linux' };

describe('a session over TCP', () => {
  // Covers SES-35, SES-60, SES-61.
  it('ends our direction at close and waits for the peer to end its own', async (t) => {
    const { channel, peer } = await meetOverTCP(t, { linger: 60_000 });
    let closed = false;
    const closing = channel.close().then(() => {
      closed = true;
    });
    assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
    await peer.send(pattern(100_000)); // thrown away, but taken
    await turn();
    assert.equal(closed, false);
    await peer.endWriting();
    await closing;
  });

  // Covers SES-63.
  it('does not wait long for a peer whose close frame it has seen', onLinux, async (t) => {
    const { channel, peer } = await meetOverTCP(t, { linger: Infinity });
    await peer.send(CLOSE_FRAME);
    assert.equal(await channel.read(), null);
    await channel.close();
  });

  // Covers SES-63.
  it('does not wait long for a peer that answers its close frame and stays', onLinux, async (t) => {
    const { channel, peer } = await meetOverTCP(t, { linger: Infinity });
    const closing = channel.close();
    assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
    await peer.send(Buffer.concat([frame('and one more'), CLOSE_FRAME]));
    await closing;
  });

  // Covers SES-2, SES-5.
  it('tells a reset from an end after its stream was ended', async (t) => {
    for (let round = 0; round < 10; round += 1) {
      const { channel, peer } = await meetOverTCP(t);
      channel.stream().end();
      assert.deepEqual(await peer.read(4), CLOSE_FRAME);
      await peer.send(frame('last'));
      peer.reset();
      assert.equal(String(await channel.read()), 'last');
      await assert.rejects(channel.read(), { code: 'reset' });
    }
  });

  // Beyond the specification: a close that waits keeps the process alive.
  it('keeps the process alive while it closes, whatever went before', async (t) => {
    const { server, address } = await listen(t);
    const accepted = once(server, 'connection');
    const code = `
      import { connect } from '${new URL('../index.js', import.meta.url)}';
      const channel = await connect({ inPath: process.argv[1], outPath: process.argv[1], linger: Infinity });
      const stream = channel.stream();
      await new Promise((resolve) => stream.end(resolve));
      setImmediate(async () => {
        console.log('closing');
        await channel.close();
        console.log('closed');
      });
    `;
    const { said, ended } = startCode(t, code, address);
    const [socket] = await accepted;
    await said('closing');
    socket.end();
    socket.resume();
    const { code: status, output } = await ended;
    assert.deepEqual([status, output], [0, 'closing\nclosed\n']);
  });

  // Covers SES-31, SES-62.
  it('waits no longer than the linger for a peer that stays', async (t) => {
    const { channel, peer } = await meetOverTCP(t, { linger: 50 });
    await channel.close();
    assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
  });

  // Covers RDV-49, SES-2, SES-5.
  it('reports a reset that came together with data', async (t) => {
    for (let round = 0; round < 20; round += 1) {
      const { channel, peer } = await meetOverTCP(t);
      await peer.send(frame('last'));
      peer.reset();
      assert.equal(String(await channel.read()), 'last');
      await assert.rejects(channel.read(), { code: 'reset' });
    }
  });

  // Covers RDV-49, SES-2, SES-26.
  it('reports a reset that came together with data while a write of ours waits', async (t) => {
    for (let round = 0; round < 20; round += 1) {
      const { channel, peer } = await meetOverTCP(t);
      const write = assert.rejects(channel.write(pattern(32 * 1024 * 1024)), { code: 'reset' });
      await turn();
      await peer.send(frame('last'));
      peer.reset();
      assert.equal(String(await channel.read()), 'last');
      await assert.rejects(channel.read(), { code: 'reset' });
      await write;
    }
  });

  // Covers SES-4, SES-5.
  it('calls an end an end while a write of ours waits', async (t) => {
    const { channel, peer } = await meetOverTCP(t);
    const write = channel.write(pattern(32 * 1024 * 1024));
    await peer.endWriting();
    assert.equal(await channel.read(), null);
    assert.equal(channel.endReason, 'eof');
    assert.equal((await peer.readFrame()).length, 32 * 1024 * 1024);
    await write;
  });
});

describe('a server that resets before this process looks', () => {
  for (const [how, end] of /** @type {const} */ ([
    ['reset', { reason: 'reset', code: 'reset' }],
    ['end and reset', { reason: 'eof', code: null }],
  ])) {
    for (const sent of ['', 'hello']) {
      // Covers RDV-49, SES-2, SES-5.
      it(`was met: ${how} after "${sent}"`, async (t) => {
        const { address, untilReset } = await resettingServer(t, how, sent);
        for (let round = 0; round < 100; round += 1) {
          const connecting = connect({ inPath: address, outPath: address, timeout: 0 });
          process.nextTick(untilReset); // right after the system call
          const channel = await connecting;
          const { messages, error } = await readToEnd(channel);
          assert.deepEqual(messages.map(String), sent === '' ? [] : [sent]);
          assert.deepEqual([channel.endReason, error], [end.reason, end.code]);
          await channel.close();
        }
      });
    }
  }
});

/**
 * A process that sends a message to each client and resets it.
 *
 * @param {import('node:test').TestContext} t
 * @param {'reset' | 'end and reset'} how
 * @param {string} message
 */
async function resettingServer(t, how, message) {
  const { inPath: pipe } = makePipes(t);
  const code = `
    import fs from 'node:fs';
    import net from 'node:net';
    const [pipe, how, hex] = process.argv.slice(1);
    const told = fs.openSync(pipe, 'w');
    const server = net.createServer({ allowHalfOpen: true }, async (socket) => {
      const bytes = Buffer.from(hex, 'hex');
      if (bytes.length > 0) await new Promise((done) => socket.write(bytes, done));
      if (how !== 'reset') await new Promise((done) => socket.end(done));
      socket.on('close', () => fs.writeSync(told, '.'));
      socket.resetAndDestroy();
    });
    server.listen(0, '127.0.0.1', () => console.log(server.address().port));
  `;
  const wire = message === '' ? '' : frame(message).toString('hex');
  const { child, said } = startCode(t, code, pipe, how, wire);
  let address = '';
  child.stdout.on('data', (text) => {
    address += String(text).trim();
  });
  const fd = fs.openSync(pipe, 'r');
  t.after(() => fs.closeSync(fd));
  await said('\n');
  return { address, untilReset: () => fs.readSync(fd, Buffer.alloc(1)) };
}

describe('a TCP connection', () => {
  for (const [localAddress, toItself] of /** @type {const} */ ([
    ['127.0.0.1', true],
    ['127.0.0.2', false],
  ])) {
    // Covers RDV-44.
    it(`from ${localAddress} and the port that it goes to ${toItself ? 'meets' : 'does not meet'} itself`, async (t) => {
      const { server, port } = await listen(t);
      if (toItself) {
        server.close();
        await once(server, 'close');
      }
      const connection = new TCPStream();
      t.after(() => connection.destroy());
      // `localPort` makes happen what happens by chance otherwise.
      const address = { host: '127.0.0.1', port, localAddress, localPort: port };
      await connection.open(address);
      assert.equal(connection.toItself, toItself);
    });
  }
});
