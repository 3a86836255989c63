// Reads a message, answers it, reads another one, and says how long that was and by how many bytes it
// made the peak of this process grow.
import { connectFromEnv } from 'ipc-channel';

const peak = () => process.resourceUsage().maxRSS * 1024;

const channel = await connectFromEnv();
await channel.read();
const before = peak();
await channel.write(Buffer.from('go'));
const message = await channel.read();
console.log(message?.length, peak() - before);
await channel.close();
