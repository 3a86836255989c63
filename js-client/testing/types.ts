// A type test: it is compiled, never run.
import type { Duplex } from 'node:stream';

import {
  AbortError,
  Channel,
  type ConnectOptions,
  connect,
  connectFromEnv,
  type EndReason,
  IPCChannelError,
  RequestChannel,
  RequestError,
  type RequestHandler,
  runHelper,
  serve,
  WrongTypeError,
} from 'ipc-channel';
import type { Channel as Implementation } from '../lib/channel.js';

const options: ConnectOptions = {
  inPath: '/path/to/in',
  outPath: '/path/to/out',
  timeout: 1000,
  linger: Infinity,
  maxMessageSize: 1024,
  allowedUsers: [1000],
  signal: AbortSignal.timeout(1000),
};

export async function use(): Promise<EndReason | null> {
  await using channel: Channel = await connect(options);
  const message: Buffer | null = await channel.read({ signal: AbortSignal.timeout(5) });
  if (message !== null) await channel.write(message, { signal: AbortSignal.timeout(5) });
  await channel.write(new Float64Array(2));
  await channel.write(new DataView(new ArrayBuffer(2)));
  await channel.write(new ArrayBuffer(2));
  // @ts-expect-error a string is not a message
  await channel.write('text');
  // @ts-expect-error inPath and outPath are missing
  await connect({ inPath: '/path/to/in' });
  // @ts-expect-error the environment says where
  await connectFromEnv({ inPath: '/path/to/in' });
  // @ts-expect-error the option is misspelled
  await connectFromEnv({ timout: 5 });
  // @ts-expect-error a number of milliseconds
  await connectFromEnv({ timeout: '5' });
  // @ts-expect-error a number, not a BigInt
  await connectFromEnv({ maxMessageSize: 5n });
  // @ts-expect-error numbers, not names
  await connectFromEnv({ allowedUsers: ['root'] });
  // @ts-expect-error a signal, not its controller
  await connectFromEnv({ signal: new AbortController() });
  // @ts-expect-error options are an object
  await connectFromEnv(null);
  // @ts-expect-error a message has no encoding
  await channel.write(new Uint8Array(1), 'utf8');
  // @ts-expect-error the option is misspelled
  await channel.read({ singal: AbortSignal.timeout(5) });
  // @ts-expect-error channels come from connect
  new Channel();
  // @ts-expect-error an end reason cannot be set
  channel.endReason = 'clean';
  for await (const each of channel) each.readUInt32BE();
  const stream: Duplex = channel.stream();
  stream.end();
  await channel.close();
  return channel.endReason;
}

export async function help(): Promise<void> {
  await runHelper(async (channel, { signal }) => {
    const message: Buffer | null = await channel.read({ signal });
    if (message !== null) await channel.write(message);
  });
  await runHelper(() => 5, { linger: 5 });
  // @ts-expect-error the helper has a signal of its own
  await runHelper(() => {}, { signal: AbortSignal.timeout(5) });
  // @ts-expect-error the function comes first
  await runHelper({ linger: 5 });
}

export async function ask(channel: Channel): Promise<Buffer> {
  const requests = new RequestChannel(channel, { maxOpen: 5 });
  const answer: Buffer = await requests.call(new Uint8Array(1));
  await requests.call(answer, { timeout: 5, signal: AbortSignal.timeout(5) });
  // @ts-expect-error a string is not a payload
  await requests.call('text');
  // @ts-expect-error the option is misspelled
  await requests.call(answer, { timout: 5 });
  return answer;
}

export async function answer(channel: Channel): Promise<void> {
  const handler: RequestHandler = async (payload, { signal }) => {
    signal.throwIfAborted();
    if (payload.length === 0) throw new RequestError('empty', 'nothing to do');
    return payload;
  };
  await serve(channel, handler, { concurrency: 5, maxOpen: 5 });
  await new RequestChannel(channel).serve(() => new ArrayBuffer(5));
  // @ts-expect-error a string is not an answer
  await serve(channel, () => 'text');
  // @ts-expect-error maxOpen belongs to the RequestChannel
  await new RequestChannel(channel).serve(handler, { maxOpen: 5 });
}

export function tell(error: unknown): string {
  if (error instanceof IPCChannelError && error.code === 'truncated') return error.message;
  if (error instanceof WrongTypeError) return error.code;
  if (error instanceof AbortError) return error.code;
  if (error instanceof RequestError) return error.code;
  // @ts-expect-error there is no such code
  if (error instanceof IPCChannelError && error.code === 'no-such-code') return '';
  return '';
}

// What is promised must be what is there.
type Promised = Pick<Channel, 'read' | 'write' | 'close' | 'stream' | 'endReason'>;
export const kept = (channel: Implementation): Promised => channel;
