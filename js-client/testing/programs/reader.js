// Has a channel lie idle for a while, waits for one message, then forgets the channel.
import { connectFromEnv } from 'ipc-channel';

const channel = await connectFromEnv();
await new Promise((resolve) => setTimeout(resolve, 50));
console.log('waiting');
console.log(`got ${await channel.read()}`);
