// A helper that answers every message with its SHA-256 as 64 hex digits. Its server starts it with
// IPC_CHANNEL_IN and IPC_CHANNEL_OUT in the environment. Copy it and put your own work into answer().
import { createHash } from 'node:crypto';

import { runHelper } from 'ipc-channel';

/** @param {Buffer} message */
function answer(message) {
  return Buffer.from(createHash('sha256').update(message).digest('hex'), 'ascii');
}

await runHelper(async (channel) => {
  for await (const message of channel) await channel.write(answer(message));
});
