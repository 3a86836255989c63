// A helper that answers each request with the SHA-256 of its payload as 64 hex digits. Its server starts it
// with IPC_CHANNEL_IN and IPC_CHANNEL_OUT in the environment. Copy it and put your own work into digest().
import { createHash } from 'node:crypto';

import { runHelper, serve } from 'ipc-channel';

/** @param {Buffer} payload */
function digest(payload) {
  return Buffer.from(createHash('sha256').update(payload).digest('hex'), 'ascii');
}

await runHelper((channel) => serve(channel, digest));
