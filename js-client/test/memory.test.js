import assert from 'node:assert/strict';
import { once } from 'node:events';
import { it } from 'node:test';

import { startHelper } from '../testing/process.js';
import { frame, listen, Peer } from '../testing/rig.js';

const MIB = 2 ** 20;

// In a process of its own, because other tests would raise the peak.
// Covers FRM-6.
it('a message of 64 MiB takes little more memory than its size', async (t) => {
  const { server, address } = await listen(t);
  const accepted = once(server, 'connection');
  const file = 'testing/programs/peak.js';
  const { ended } = startHelper(t, file, { inPath: address, outPath: address });
  const [socket] = await accepted;
  const peer = new Peer(socket, socket);
  t.after(() => peer.destroy());
  await peer.send(frame(Buffer.alloc(MIB)));
  await peer.readFrame();
  await peer.send(frame(Buffer.alloc(64 * MIB)));
  const { output, errors } = await ended;
  assert.equal(errors, '');
  const [length, grown] = output.split(' ').map(Number);
  assert.equal(length, 64 * MIB);
  t.diagnostic(`the peak of the process grew by ${(grown / MIB).toFixed(1)} MiB`);
  assert.ok(grown < 96 * MIB, `${grown / MIB} MiB`);
});
