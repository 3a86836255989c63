// This client as a testee of the conformance suite: it carries out the requests on its standard input
// (../spec/conformance.md, "Control language"). Part of the repository only, not of the package.
//
//   ipc-channel conformance -- node js-client/testee.js
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';

import { AbortError, connect, connectFromEnv, RequestChannel } from './index.js';
import { TRANSPORTS } from './lib/transports.js';
import { vectorHandler } from './testing/handlers.js';

/**
 * @typedef {import('./index.js').Channel} Channel
 * @typedef {{in: string, out: string} | {in?: undefined}} Rendezvous
 * @typedef {{timeout?: number, max_message_size?: number, linger?: number}} Options
 * @typedef {{id: number, do: 'connect'} & Rendezvous & Options} ConnectRequest
 * @typedef {{do: 'write', pattern: string, sizes: number[], count?: number}} WriteRequest
 * @typedef {{do: 'call', payload: string}} CallRequest
 * @typedef {{do: 'serve', concurrency?: number}} ServeRequest
 * @typedef {{do: 'read' | 'drain' | 'echo' | 'close'} | {do: 'cancel', of: number}} PlainRequest
 * @typedef {{id: number} & (ConnectRequest | WriteRequest | CallRequest | ServeRequest | PlainRequest)} Request
 * @typedef {Record<string, unknown>} Answer
 * @typedef {(channel: Channel, signal: AbortSignal) => Promise<Answer>} Work
 */

/** @type {WeakMap<Channel, RequestChannel>} */
const layers = new WeakMap();

class Testee {
  /** @type {Channel | null} */
  #channel = null;
  /** @type {number | null} the id of the connect that waits */
  #connecting = null;
  /** @type {Map<number, {controller: AbortController, served: Promise<void>}>} */
  #underWay = new Map();

  /** Serves the requests on the standard input until it ends. */
  async run() {
    say({
      language: 1,
      name: 'Node ipc-channel',
      version: process.versions.node,
      can: [
        ...TRANSPORTS.map(({ name }) => name),
        'cancel',
        'concurrent',
        'max_message_size',
        'linger',
        'requests',
      ],
    });
    for await (const line of createInterface({ input: process.stdin })) {
      this.#begin(JSON.parse(line));
    }
    const left = [...this.#underWay.values()];
    for (const { controller } of left) controller.abort(calledOff());
    await Promise.all(left.map(({ served }) => served));
    await this.#channel?.close();
  }

  /** @param {Request} request begun before this returns, so that requests begin in their order */
  #begin(request) {
    const controller = new AbortController();
    const served = this.#serve(request, controller.signal).finally(() => {
      this.#underWay.delete(request.id);
    });
    this.#underWay.set(request.id, { controller, served });
  }

  /** @type {(request: Request, signal: AbortSignal) => Promise<void>} */
  async #serve(request, signal) {
    const channel = this.#channel; // a connect may put another in its place meanwhile
    try {
      say({ id: request.id, ...(await this.#perform(request, signal)) });
    } catch (error) {
      const reads = ['read', 'drain', 'echo', 'serve'].includes(request.do);
      const end = reads && channel?.endReason;
      say({ id: request.id, ...failureOf(error), ...(end && { end }) });
    }
  }

  /** @type {(request: Request, signal: AbortSignal) => Promise<Answer>} */
  async #perform(request, signal) {
    switch (request.do) {
      case 'connect':
        return this.#connect(request, signal);
      case 'read':
        return read(this.#connected, signal);
      case 'write':
        return write(this.#connected, request, signal);
      case 'drain':
        return drain(this.#connected, signal);
      case 'echo':
        return echo(this.#connected, signal);
      case 'call':
        return call(this.#connected, request, signal);
      case 'serve':
        return serve(this.#connected, request, signal);
      case 'close':
        return this.#close();
      case 'cancel':
        this.#underWay.get(request.of)?.controller.abort(calledOff());
        return {};
      default:
        throw new Error(`told something unknown: ${JSON.stringify(request)}`);
    }
  }

  /** @type {(request: ConnectRequest, signal: AbortSignal) => Promise<Answer>} */
  async #connect(request, signal) {
    if (this.#connecting !== null) throw coded('busy', 'another connect waits');
    this.#connecting = request.id;
    const before = this.#channel;
    this.#channel = null;
    try {
      await before?.close();
      this.#channel = await open(request, signal);
    } finally {
      this.#connecting = null;
    }
    return {};
  }

  /** Cancels a connect that waits. */
  async #close() {
    const connecting = this.#underWay.get(this.#connecting ?? Number.NaN);
    connecting?.controller.abort();
    await connecting?.served;
    await this.#channel?.close();
    return {};
  }

  get #connected() {
    if (this.#channel !== null) return this.#channel;
    throw coded('not-connected', 'there is no channel');
  }
}

/** @type {(request: ConnectRequest, signal: AbortSignal) => Promise<Channel>} */
function open(request, signal) {
  const { timeout, linger, max_message_size: maxMessageSize } = request;
  const options = {
    timeout: timeout && timeout * 1000,
    linger: linger && linger * 1000,
    maxMessageSize,
    signal,
  };
  if (request.in === undefined) return connectFromEnv(options);
  return connect({ inPath: request.in, outPath: request.out, ...options });
}

/** @type {(code: string, message: string) => Error} */
function coded(code, message) {
  return Object.assign(new Error(message), { code });
}

/** @type {Work} */
async function read(channel, signal) {
  const message = await channel.read({ signal });
  if (message === null) return { end: channel.endReason };
  const sha256 = createHash('sha256').update(message).digest('hex');
  return { message: { size: message.length, sha256 } };
}

/** @type {Work} */
async function drain(channel, signal) {
  const hash = createHash('sha256');
  const header = Buffer.alloc(4);
  let messages = 0;
  for await (const message of messagesOf(channel, signal)) {
    header.writeUInt32BE(message.length);
    hash.update(header).update(message);
    messages += 1;
  }
  return { messages, sha256: hash.digest('hex'), end: channel.endReason };
}

/** @type {Work} */
async function echo(channel, signal) {
  let messages = 0;
  for await (const message of messagesOf(channel, signal)) {
    await channel.write(message, { signal });
    messages += 1;
  }
  return { messages, end: channel.endReason };
}

/** @type {(channel: Channel, request: CallRequest, signal: AbortSignal) => Promise<Answer>} */
async function call(channel, { payload }, signal) {
  const answer = await layerOf(channel).call(Buffer.from(payload, 'hex'), { signal });
  return { payload: answer.toString('hex') };
}

/** @type {(channel: Channel, request: ServeRequest, signal: AbortSignal) => Promise<Answer>} */
async function serve(channel, { concurrency }, signal) {
  let answered = 0;
  const handle = vectorHandler(() => layerOf(channel));
  await layerOf(channel).serve(
    (payload, context) => handle(payload, context).finally(() => (answered += 1)),
    { concurrency, signal },
  );
  return { answered, end: channel.endReason };
}

/** @param {Channel} channel */
function layerOf(channel) {
  const layer = layers.get(channel) ?? new RequestChannel(channel);
  layers.set(channel, layer);
  return layer;
}

/** @type {(channel: Channel, signal: AbortSignal) => AsyncGenerator<Buffer>} */
async function* messagesOf(channel, signal) {
  for (let next = await channel.read({ signal }); next; next = await channel.read({ signal })) {
    yield next;
  }
}

/** @type {(channel: Channel, request: WriteRequest, signal: AbortSignal) => Promise<Answer>} */
async function write(channel, { pattern, sizes, count = sizes.length }, signal) {
  const bytes = Buffer.from(pattern, 'hex');
  for (let number = 0; number < count; number += 1) {
    await channel.write(Buffer.alloc(sizes[number % sizes.length], bytes), { signal });
  }
  return {};
}

function calledOff() {
  return new AbortError('called off');
}

/** @type {(error: unknown) => Answer} */
function failureOf(error) {
  if (error instanceof AbortError) return { error: 'cancelled' };
  // An error without a code is a bug of this program, and ends it.
  if (!(error instanceof Error && 'code' in error)) throw error;
  return { error: error.code, text: error.message };
}

/** @param {Answer} answer */
function say(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

await new Testee().run();
