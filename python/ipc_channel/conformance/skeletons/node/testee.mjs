// A client of ipc-channel in JavaScript, and around it a testee for the conformance suite.
//
//   ipc-channel conformance --transport tcp -- node testee.mjs
//
// Ids such as RDV-43 are requirements of the specification: FRM in spec/framing.md, RDV in
// spec/rendezvous.md, SES in spec/session.md, ERR in spec/errors.md.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect as openSocket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

// TODO: say what else your client can do: named_pipe, max_message_size, linger,
// concurrent (SES-11, SES-20, SES-33), cancel (SES-10, SES-21).
const CAN = ['tcp'];
const LIMIT = 64 * 1024 * 1024; // FRM-6
const ERROR_OF_END = { truncated: 'truncated', reset: 'reset', too_large: 'too-large' };

/** An error with one of the codes of spec/errors.md. */
class ChannelError extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

// ---- Your client: connect, read, write, close. This one does the simplest thing over TCP.

/** A connection to the server. `end` is the end reason, once there is one. */
class Channel {
  end = null;
  #closed = false;
  #socket;
  #wakeReader = () => {};

  constructor(socket) {
    this.#socket = socket;
    for (const event of ['readable', 'end', 'close']) socket.on(event, () => this.#wakeReader());
    socket.on('error', () => {}); // reads and writes tell of it
  }

  /** Connects, and tries again until the timeout (RDV-9, RDV-43). */
  static async connect(input, output, timeout) {
    // TODO RDV-1, RDV-6, RDV-20 to RDV-38: named pipes.
    // TODO RDV-4: the other hosts. RDV-5: all that is refused here stays refused.
    // TODO RDV-12: pause for 1 ms first, then twice as long each time, up to 20 ms.
    // TODO RDV-14: also after other errors, which the timeout then names.
    // TODO RDV-44: not to itself. RDV-45: TCP_NODELAY. RDV-49: a reset is an end.
    const [, port] = /^(?:127\.0\.0\.1:)?([1-9][0-9]{0,4})$/.exec(input) ?? [];
    if (input !== output || port === undefined || port > 65535) {
      throw new ChannelError('bad-rendezvous', `${input} and ${output} lead to no server`);
    }
    for (const deadline = performance.now() + timeout * 1000; ; await sleep(10)) {
      const socket = openSocket({ host: '127.0.0.1', port, allowHalfOpen: true });
      try {
        await once(socket, 'connect');
        return new Channel(socket);
      } catch (error) {
        if (error.code !== 'ECONNREFUSED') throw error;
        if (performance.now() < deadline) continue;
        throw new ChannelError('timeout', `no server at port ${port}`);
      }
    }
  }

  /** Returns a message, or null at an orderly end; an end stays (SES-1). */
  async read() {
    const message = this.end ? null : await this.#readFrame();
    const code = ERROR_OF_END[this.end];
    if (code) throw new ChannelError(code, `the session ended: ${this.end}`);
    return message;
  }

  /** Returns a message, or sets the end reason and returns null. */
  async #readFrame() {
    // TODO SES-2: a reset destroys the socket, and messages that it holds are lost.
    // TODO SES-5: Node may report a reset that comes with data as an end of the stream.
    // TODO SES-3: an end of the stream after a write has met a reset is a reset.
    const header = await this.#take(4);
    if (header?.length === 4) {
      const size = header.readUInt32BE();
      if (size > LIMIT) this.end = 'too_large'; // FRM-8
      else if (size === 0) this.end = 'clean'; // FRM-3
      else {
        const message = await this.#take(size);
        if (message?.length === size) return message;
        this.end = 'truncated'; // FRM-10
      }
    } else this.end = header ? 'truncated' : 'eof';
    if (this.#socket.errored && this.end !== 'clean' && this.end !== 'too_large') this.end = 'reset';
    return null;
  }

  /** Returns that many bytes, fewer at the end of the stream, and null if there are none. */
  async #take(size) {
    const socket = this.#socket;
    for (;;) {
      const bytes = socket.read(size);
      if (bytes || socket.readableEnded || socket.destroyed) return bytes;
      await new Promise((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }

  /** Sends a message. */
  async write(message) {
    // TODO FRM-4, FRM-7: refuse an empty message, and one over the limit.
    // TODO SES-26: nothing can be sent after a reset, too-large or a failed write.
    if (this.#closed) throw new ChannelError('closed', 'the channel is closed');
    const header = Buffer.alloc(4);
    header.writeUInt32BE(message.length);
    const error = await this.#send(Buffer.concat([header, message]));
    if (error) throw new ChannelError('peer-gone', error.message);
  }

  /** Sends the close frame (SES-31) and frees the socket (SES-32). */
  async close() {
    // TODO SES-34, SES-60 to SES-62: meanwhile read and drop what the peer sends.
    // TODO SES-50 to SES-52: not for longer than the linger.
    // TODO SES-36: send nothing after a reset or a failed write.
    // TODO RDV-48: not before the server has let this client in.
    if (this.#closed) return; // SES-30
    this.#closed = true;
    this.end ??= 'local';
    await this.#send(Buffer.alloc(4));
    await new Promise((resolve) => this.#socket.end(resolve)); // SES-35
    this.#socket.destroy();
  }

  /** Resolves to an error, or nothing, when the system has taken the bytes. */
  #send(bytes) {
    return new Promise((resolve) => this.#socket.write(bytes, resolve));
  }
}

// ---- The control language (spec/conformance.md), one request at a time. It is complete.

let channel = null;

/** What to do for each request; it fills in the answer as far as it comes. */
const requests = {
  async connect({ in: input, out: output, timeout = 10 }) {
    await channel?.close();
    channel = null; // also if this one fails
    // TODO: max_message_size (FRM-11) and linger (SES-50); bad-option if out of range.
    if (timeout < 0) throw new ChannelError('bad-option', `timeout is ${timeout}`);
    const fromEnvironment = input === undefined; // RDV-7
    channel = await Channel.connect(
      fromEnvironment ? variable('IPC_CHANNEL_IN') : input,
      fromEnvironment ? variable('IPC_CHANNEL_OUT') : output,
      timeout,
    );
  },
  async read(_, answer) {
    const message = await connected().read();
    if (message) answer.message = { size: message.length, sha256: sha256().update(message).digest('hex') };
  },
  async write({ pattern, sizes, count = sizes.length }) {
    const bytes = Buffer.from(pattern, 'hex');
    for (let number = 0; number < count; number += 1) {
      await connected().write(Buffer.alloc(sizes[number % sizes.length], bytes));
    }
  },
  async drain(_, answer) {
    const hash = sha256();
    const header = Buffer.alloc(4);
    await forEachMessage(answer, (message) => {
      header.writeUInt32BE(message.length);
      hash.update(header).update(message);
    });
    answer.sha256 = hash.digest('hex');
  },
  async echo(_, answer) {
    await forEachMessage(answer, (message) => connected().write(message));
  },
  async close() {
    await channel?.close();
  },
};

async function serve(request, answer) {
  try {
    await requests[request.do](request, answer);
  } catch (error) {
    if (error.code === undefined) throw error; // a mistake of the suite or of this program
    const code = error instanceof ChannelError ? error.code : 'other';
    Object.assign(answer, { error: code, text: error.message });
  }
  const reads = ['read', 'drain', 'echo'].includes(request.do);
  if (reads && channel?.end) answer.end = channel.end;
}

async function forEachMessage(answer, work) {
  answer.messages = 0;
  for (let message = await connected().read(); message; message = await connected().read()) {
    await work(message);
    answer.messages += 1;
  }
}

function connected() {
  if (channel) return channel;
  throw new ChannelError('not-connected', 'there is no channel');
}

function variable(name) {
  if (process.env[name]) return process.env[name];
  throw new ChannelError('bad-rendezvous', `${name} is not set`); // RDV-8
}

function sha256() {
  return createHash('sha256');
}

function say(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

say({ language: 1, name: 'my client', version: '0.1', can: CAN });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const answer = { id: request.id };
  await serve(request, answer);
  say(answer);
}
await channel?.close();
