// Helpers that fail, or do what a test looks at; the first argument says which, the second is the timeout.
import { runHelper } from 'ipc-channel';

/** @type {Record<string, Parameters<typeof runHelper>[0]>} */
const MAINS = {
  async echo(channel) {
    for await (const message of channel) await channel.write(message);
  },
  async rejects() {
    throw new Error('out of cheese');
  },
  throws() {
    throw new Error('out of cheese');
  },
  /** Catches the error of the end. */
  async catches(channel) {
    await channel.read().catch(() => null);
  },
  stuck() {
    return new Promise(() => {});
  },
  /** Its other promise rejects while this one waits. */
  async neglects(channel) {
    Promise.reject(new Error('out of cheese'));
    await channel.read();
  },
  async chooses() {
    process.exitCode = 7;
  },
  async prints() {
    process.stdout.write('x'.repeat(1_000_000));
    throw new Error('out of cheese');
  },
  /** Says when it is to end, and goes on writing. */
  async tells(channel, { signal }) {
    signal.addEventListener('abort', () => console.log('stopping'));
    for await (const message of channel) await channel.write(message);
  },
  /** Says that it runs, and heeds nothing. */
  async hangs() {
    console.log('running');
    await new Promise((resolve) => setTimeout(resolve, 100_000));
  },
};

await runHelper(MAINS[process.argv[2]], { timeout: Number(process.argv[3] ?? 10_000) });
