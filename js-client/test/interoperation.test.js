// Others that speak the same wire: multiprocessing.connection of Python, as it comes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';

import { connect } from '../index.js';
import { makePipes } from '../testing/pipes.js';
import { pattern } from '../testing/rig.js';

const SERVER = `
import os, sys
from multiprocessing.connection import Connection, Listener

class Both:
    def __init__(self, reader, writer):
        self.recv_bytes, self.send_bytes = reader.recv_bytes, writer.send_bytes

if sys.argv[1] == 'tcp':
    listener = Listener(('127.0.0.1', 0))
    print(listener.address[1], flush=True)
    connection = listener.accept()
else:
    reader = Connection(os.open(sys.argv[3], os.O_RDONLY), writable=False)
    writer = Connection(os.open(sys.argv[2], os.O_WRONLY), readable=False)
    connection = Both(reader, writer)
while message := connection.recv_bytes():
    connection.send_bytes(message)
connection.send_bytes(b'')
`;

/**
 * @param {import('node:test').TestContext} t
 * @param {string[]} values
 */
function startServer(t, ...values) {
  const child = spawn('python3', ['-c', SERVER, ...values], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  t.after(async () => {
    if (child.exitCode === null) child.kill('SIGKILL');
    await ended;
  });
  return { child, ended };
}

/**
 * @param {import('../index.js').Channel} channel
 * @param {Promise<unknown[]>} ended
 */
async function check(channel, ended) {
  for (const size of [1, 100, 65_536, 3_000_000]) {
    const [echoed] = await Promise.all([channel.read(), channel.write(pattern(size))]);
    assert.ok(echoed?.equals(pattern(size)), `${size}`);
  }
  channel.stream().end();
  assert.equal(await channel.read(), null);
  assert.equal(channel.endReason, 'clean');
  await channel.close();
  assert.equal((await ended)[0], 0);
}

describe('multiprocessing.connection', () => {
  // Covers FRM-1, FRM-2, FRM-3.
  it('over TCP', async (t) => {
    const { child, ended } = startServer(t, 'tcp');
    const address = String(await once(child.stdout, 'data')).trim();
    await check(await connect({ inPath: address, outPath: address, timeout: 60_000 }), ended);
  });

  // Covers FRM-1, FRM-2, FRM-3, RDV-22.
  it('over named pipes', async (t) => {
    const paths = makePipes(t);
    const { ended } = startServer(t, 'pipes', paths.inPath, paths.outPath);
    await check(await connect({ ...paths, timeout: 60_000 }), ended);
  });
});

describe('a server that is stopped in mid-transfer', () => {
  // Covers SES-22.
  it('gets everything once it goes on', async (t) => {
    const { child, ended } = startServer(t, 'tcp');
    const address = String(await once(child.stdout, 'data')).trim();
    const channel = await connect({ inPath: address, outPath: address, timeout: 60_000 });
    const message = pattern(16 * 1024 * 1024);
    const echo = channel.read();
    const write = channel.write(message);
    child.kill('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 2000));
    child.kill('SIGCONT');
    await write;
    assert.ok((await echo)?.equals(message));
    await channel.close();
    await ended;
  });
});
