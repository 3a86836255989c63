// A helper that sends every message back. Its server starts it with IPC_CHANNEL_IN and
// IPC_CHANNEL_OUT in the environment.
import { connectFromEnv } from 'ipc-channel';

async function main() {
  const channel = await connectFromEnv();
  try {
    for await (const message of channel) await channel.write(message);
  } finally {
    await channel.close();
  }
}

main().catch((error) => {
  console.error(`echo: ${error.code}: ${error.message}`);
  process.exitCode = 1;
});
