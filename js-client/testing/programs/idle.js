// Connects, and has nothing more to do: it must end by itself.
import { connectFromEnv } from 'ipc-channel';

const channel = await connectFromEnv();
console.log(`connected ${channel.endReason}`);
