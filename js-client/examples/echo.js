// A helper that sends every message back. Its server starts it with IPC_CHANNEL_IN and
// IPC_CHANNEL_OUT in the environment.
import { runHelper } from 'ipc-channel';

await runHelper(async (channel) => {
  for await (const message of channel) await channel.write(message);
});
