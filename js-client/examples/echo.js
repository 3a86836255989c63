// A helper that sends every message back. Its server starts it with IPC_CHANNEL_IN and
// IPC_CHANNEL_OUT in the environment.
import { constants } from 'node:os';

import { connectFromEnv } from 'ipc-channel';

// SIGINT and SIGTERM let the message in hand be answered; a second signal ends the program at once.
const stopping = new AbortController();
const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM']);
for (const name of SIGNALS) process.on(name, stop);

/** @param {(typeof SIGNALS)[number]} name */
function stop(name) {
  for (const each of SIGNALS) process.off(each, stop);
  process.exitCode = 128 + constants.signals[name]; // as a shell counts it
  stopping.abort();
}

async function main() {
  const { signal } = stopping;
  const channel = await connectFromEnv({ signal });
  try {
    for (;;) {
      const message = await channel.read({ signal });
      if (message === null) return;
      await channel.write(message);
    }
  } finally {
    await channel.close();
  }
}

main().catch((error) => {
  if (error.code === 'ABORT_ERR') return;
  console.error(`echo: ${error.code}: ${error.message}`);
  process.exitCode = 1;
});
