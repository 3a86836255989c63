// Another listener of the signal that a read was given throws.
import { connectFromEnv } from 'ipc-channel';

process.on('uncaughtException', (error) => console.log(`uncaught: ${error.message}`));

const channel = await connectFromEnv();
const controller = new AbortController();
const throwing = () => {
  throw new Error('thrown');
};
controller.signal.addEventListener('abort', throwing);
const read = channel.read({ signal: controller.signal });
controller.signal.addEventListener('abort', throwing);
controller.abort();
await read.catch((error) => console.log(error.code));
console.log('waiting');
for (let count = 0; count < 3; count += 1) console.log(String(await channel.read()));
await channel.close();
