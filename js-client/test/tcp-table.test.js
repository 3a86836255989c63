import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { it } from 'node:test';

import { unacknowledged } from '../lib/tcp-table.js';

const onLinux = { skip: process.platform !== 'linux' };
const MORE = Buffer.alloc(32 * 1024 * 1024); // bytes, which no kernel takes for a peer that does not read

/**
 * @param {import('node:test').TestContext} t
 * @param {string} host
 */
async function pair(t, host) {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, host);
  t.after(() => server.close());
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  const socket = net.connect(port, host);
  await once(socket, 'connect');
  const [peer] = await accepted;
  t.after(() => {
    socket.destroy();
    peer.destroy();
  });
  return { socket, peer };
}

for (const host of ['127.0.0.1', '127.1.2.3', '::1']) {
  // Covers SES-63.
  it(`the kernel's table tells what a peer at ${host} has not taken`, onLinux, async (t) => {
    const { socket, peer } = await pair(t, host);
    assert.equal(await unacknowledged(socket), 0);
    socket.end(MORE);
    while (!(Number(await unacknowledged(socket)) > 0));
    const ended = once(peer, 'end');
    peer.resume();
    await ended;
    while ((await unacknowledged(socket)) !== 0); // the acknowledgement of the end follows
  });
}

// Beyond the specification: a socket that is closed already.
it('what a socket that is closed has sent is not known', async (t) => {
  const { socket } = await pair(t, '127.0.0.1');
  socket.destroy();
  assert.equal(await unacknowledged(socket), null);
});
