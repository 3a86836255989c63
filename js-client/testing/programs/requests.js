// Programs with requests; the first argument says which.
import { once } from 'node:events';

import { connectFromEnv, RequestChannel, runHelper, serve } from 'ipc-channel';

const hello = Buffer.from('hello');

/** @type {Record<string, () => Promise<void>>} */
const PROGRAMS = {
  /** Calls, and leaves its channel open. */
  async calls() {
    const requests = new RequestChannel(await connectFromEnv());
    console.log(String(await requests.call(hello)));
  },
  /** Gives its only call up, and leaves its channel open. */
  async 'gives-up'() {
    const requests = new RequestChannel(await connectFromEnv());
    await requests.call(hello, { timeout: 1 }).catch((error) => console.log(error.code));
  },
  /** Stops serving, and leaves its channel open. */
  async 'stops-serving'() {
    const requests = new RequestChannel(await connectFromEnv());
    const controller = new AbortController();
    const serving = requests.serve(() => hello, { signal: controller.signal });
    await requests.call(hello);
    controller.abort();
    await serving.catch((error) => console.log(error.name));
  },
  /** Each handler asks the other end for its answer. */
  async helper() {
    await runHelper(async (channel) => {
      const requests = new RequestChannel(channel);
      await requests.serve((payload) => requests.call(payload), { concurrency: 1 });
      console.log('served');
    });
  },
  /** Its handler ends when it is told to. */
  async heeds() {
    await runHelper((channel) =>
      serve(channel, async (payload, { signal }) => {
        console.log('handling');
        if (!signal.aborted) await once(signal, 'abort');
        console.log(signal.reason.code);
        return payload;
      }),
    );
  },
};

await PROGRAMS[process.argv[2]]();
