// Writes without waiting for it: the process must not end before the kernel has the bytes.
import { connectFromEnv } from 'ipc-channel';

const channel = await connectFromEnv();
for (let byte = 1; byte <= 4; byte += 1) void channel.write(Buffer.alloc(500_000, byte));
console.log('written');
