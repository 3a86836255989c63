// A listener for 'data' that throws ends the stream with its error, and so the channel.
import { connectFromEnv } from 'ipc-channel';

process.on('uncaughtException', (error) => console.log(`uncaught: ${error.message}`));

const channel = await connectFromEnv();
const stream = channel.stream();
process.on('exit', () => console.log(`ended: ${channel.endReason}`));
stream.on('data', (message) => {
  console.log(String(message));
  throw new Error('thrown');
});
console.log('waiting');
