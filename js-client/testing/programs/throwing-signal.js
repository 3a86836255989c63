// The signal of a read that got its message cannot be let go: that loses no message.
import { connectFromEnv } from 'ipc-channel';

process.on('uncaughtException', (error) => console.log(`uncaught: ${error.message}`));

const channel = await connectFromEnv();
const signal = /** @type {any} */ ({
  aborted: false,
  addEventListener() {},
  removeEventListener() {
    throw new Error('thrown');
  },
});
const first = channel.read({ signal });
console.log('waiting');
console.log(String(await first));
for (let count = 0; count < 2; count += 1) console.log(String(await channel.read()));
await channel.close();
