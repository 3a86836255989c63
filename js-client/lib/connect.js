import { throwIfAborted } from './abort.js';
import { Channel } from './channel.js';
import { checkConnectOptions, checkEnvOptions } from './options.js';
import { fromEnvironment, parseRendezvous } from './rendezvous.js';
import { Deadline } from './retry.js';
import { Session } from './session.js';

/**
 * Meets the server at the rendezvous given by `inPath` and `outPath`.
 *
 * @param {import('../index.js').ConnectOptions} options
 * @returns {Promise<Channel>}
 */
export async function connect(options) {
  const { inPath, outPath, ...settings } = checkConnectOptions(options);
  return meet(inPath, outPath, settings);
}

/**
 * Meets the server at the rendezvous that it left in IPC_CHANNEL_IN and IPC_CHANNEL_OUT.
 *
 * @param {import('../index.js').Options} [options]
 * @returns {Promise<Channel>}
 */
export async function connectFromEnv(options = {}) {
  const settings = checkEnvOptions(options);
  const { inPath, outPath } = fromEnvironment(process.env);
  return meet(inPath, outPath, settings);
}

/**
 * @param {unknown} inPath
 * @param {unknown} outPath
 * @param {ReturnType<typeof checkEnvOptions>} settings
 */
async function meet(inPath, outPath, { timeout, signal, maxMessageSize, linger }) {
  const { transport, address } = parseRendezvous(inPath, outPath);
  throwIfAborted(signal);
  const stream = await transport.dial(address, new Deadline(timeout), signal);
  const session = new Session(transport, stream, { maxMessageSize, linger });
  return new Channel(session, address);
}
