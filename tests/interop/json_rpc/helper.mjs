// A helper that answers JSON-RPC 2.0, with the library json-rpc-2.0.
import { runHelper } from 'ipc-channel';
import { JSONRPCServer } from 'json-rpc-2.0';

const server = new JSONRPCServer();
server.addMethod('add', ({ a, b }) => a + b);

await runHelper(async (channel) => {
  for await (const message of channel) {
    const answer = await server.receiveJSON(message.toString());
    if (answer !== null) await channel.write(Buffer.from(JSON.stringify(answer))); // no notification
  }
});
