import { throwIfAborted } from './abort.js';
import { Channel } from './channel.js';
import { checkConnectOptions, checkEnvOptions } from './options.js';
import { fromEnvironment, parseRendezvous } from './rendezvous.js';
import { Deadline } from './retry.js';
import { Session } from './session.js';

/**
 * Connects to the server at the rendezvous given by `inPath` and `outPath`.
 *
 * @param {import('../index.js').ConnectOptions} options
 * @returns {Promise<Channel>}
 */
export async function connect(options) {
  const { inPath, outPath, ...settings } = checkConnectOptions(options);
  return meet(inPath, outPath, settings);
}

/**
 * Connects to the server that IPC_CHANNEL_IN and IPC_CHANNEL_OUT name.
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
async function meet(inPath, outPath, settings) {
  const { timeout, signal, maxMessageSize, linger, allowedUsers } = settings;
  const { transport, address } = parseRendezvous(inPath, outPath);
  throwIfAborted(signal);
  const stream = await transport.dial(address, new Deadline(timeout), signal, { allowedUsers });
  const session = new Session(transport, stream, { maxMessageSize, linger });
  return new Channel(session, address);
}
