// Waits for one message, then forgets the channel.
import { connectFromEnv } from 'ipc-channel';

const channel = await connectFromEnv();
console.log('waiting');
console.log(`got ${await channel.read()}`);
