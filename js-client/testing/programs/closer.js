// Writes and closes without waiting for either.
import { connectFromEnv } from 'ipc-channel';

const channel = await connectFromEnv();
for (let byte = 1; byte <= 4; byte += 1) void channel.write(Buffer.alloc(500_000, byte));
void channel.close();
console.log('closing');
