// The Node peer of the benchmarks; its orders are those of async_end.py.
import { createInterface } from 'node:readline';
import { connect } from '../../js-client/index.js';

const works = {
  async echo(channel, count) {
    for (let i = 0; i < count; i++) await channel.write(await channel.read());
    return 0;
  },

  async sink(channel, count) {
    let received = 0;
    for (let i = 0; i < count; i++) received += (await channel.read()).length;
    return received;
  },

  async both(channel, count, size) {
    const payload = Buffer.alloc(size, 'payload');
    async function send() {
      for (let i = 0; i < count; i++) await channel.write(payload);
    }
    const [received] = await Promise.all([works.sink(channel, count), send()]);
    return received;
  },
};

async function awaitGo() {
  const lines = createInterface({ input: process.stdin });
  console.log('{"address": []}');
  for await (const line of lines) {
    process.stdin.destroy();
    return line.split('\t').slice(1);
  }
  process.exit(1);
}

function cpuNanoseconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

const [inPath, outPath] = await awaitGo();
const channel = await connect({ inPath, outPath });
await channel.write(Buffer.from('hello'));
for await (const order of channel) {
  const [name, ...numbers] = order.toString().split(' ');
  if (name === 'quit') break;
  const received = await works[name](channel, ...numbers.map(Number));
  await channel.write(Buffer.from(`${cpuNanoseconds()} ${received}`));
}
await channel.close();
