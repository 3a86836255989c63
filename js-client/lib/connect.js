import { throwIfAborted } from './abort.js';
import { Channel } from './channel.js';
import { connectNamedPipe } from './named-pipe.js';
import { checkOptions } from './options.js';
import { fromEnvironment, parseRendezvous } from './rendezvous.js';
import { Deadline } from './retry.js';
import { Session } from './session.js';
import { connectTCP } from './tcp.js';

/**
 * Meets the server at the rendezvous given by `inPath` and `outPath`.
 *
 * @param {import('../index.js').ConnectOptions} options
 * @returns {Promise<Channel>}
 */
export async function connect(options) {
  const { timeout, signal, maxMessageSize, linger } = checkOptions(options);
  const rendezvous = parseRendezvous(options.inPath, options.outPath);
  throwIfAborted(signal);
  const deadline = new Deadline(timeout);
  const connection =
    rendezvous.transport === 'tcp'
      ? await connectTCP(rendezvous, deadline, signal)
      : await connectNamedPipe(rendezvous, deadline, signal);
  return new Channel(new Session(connection, { maxMessageSize, linger }));
}

/**
 * Meets the server at the rendezvous that it left in IPC_CHANNEL_IN and IPC_CHANNEL_OUT.
 *
 * @param {import('../index.js').Options} [options]
 * @returns {Promise<Channel>}
 */
export async function connectFromEnv(options = {}) {
  checkOptions(options);
  return connect({ ...options, ...fromEnvironment(process.env) });
}
