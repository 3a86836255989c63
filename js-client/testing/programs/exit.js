// Five channels with reads and connects that wait: the thread pool is free, and process.exit() works.
import { readFile } from 'node:fs/promises';

import { connect, connectFromEnv } from 'ipc-channel';

const { IPC_CHANNEL_IN: inPath, IPC_CHANNEL_OUT: outPath } = process.env;
const channel = await connectFromEnv();
channel.read().catch(() => {});
channel.write(Buffer.alloc(10_000_000)).catch(() => {});
for (let more = 0; more < 5; more += 1) {
  connect({ inPath: `${inPath}`, outPath: `${outPath}-absent`, timeout: Infinity }).catch(() => {});
}
await readFile(new URL(import.meta.url));
console.log('exiting');
process.exit(7);
