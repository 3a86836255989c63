import process from 'node:process';
import { inspect } from 'node:util';

import { stopReading } from './channel.js';
import { connectFromEnv } from './connect.js';
import { AbortError, IPCChannelError } from './errors.js';
import { programName, usage } from './helper-usage.js';
import { checkHelperOptions } from './options.js';
import { missingVariable } from './rendezvous.js';

/**
 * @typedef {import('./channel.js').Channel} Channel
 * @typedef {(channel: Channel, context: {signal: AbortSignal}) => unknown} Main
 */

const FAILED = 1;
const USAGE = 2; // started by hand, without the environment variables
/** @type {string[]} Windows has SIGBREAK, elsewhere nothing emits it */
const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGBREAK'];
// How long further signals belong to the first: a terminal that closes, for instance, may send SIGHUP twice,
// and systemd SIGHUP after SIGTERM. In milliseconds.
const TOGETHER = 1000;
// How long to look for the end of a session in which a write has failed. In milliseconds.
const LOOK_FOR_END = 1000;

/**
 * Does everything that a helper needs apart from its own work, which `main` does: connects, closes, and
 * sets the exit code. See index.d.ts.
 *
 * @param {Main} main
 * @param {import('../index.js').HelperOptions} [options]
 * @returns {Promise<void>}
 */
export async function runHelper(main, options = {}) {
  const missing = missingVariable(process.env);
  if (missing !== null) {
    process.stderr.write(usage(missing));
    process.exitCode = USAGE;
    return;
  }
  const stopping = new AbortController();
  const release = onFirstSignal(() => stopping.abort());
  try {
    await connectAndServe(main, options, stopping.signal);
  } catch (error) {
    report(error);
  } finally {
    release();
  }
}

/**
 * @param {Main} main
 * @param {import('../index.js').HelperOptions} options
 * @param {AbortSignal} signal
 */
async function connectAndServe(main, options, signal) {
  const settings = checkHelperOptions(options);
  const channel = await connectFromEnv({ ...settings, signal }).catch((error) => {
    if (error instanceof AbortError) return null; // nothing is in hand
    throw error;
  });
  if (channel === null) return;
  const stop = () => stopReading(channel);
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop);
  try {
    await serve(main, channel, signal);
  } catch (error) {
    report(error); // before the close: the service finds the reason when it sees the end
  }
  await channel.close();
}

/**
 * @param {Main} main
 * @param {Channel} channel
 * @param {AbortSignal} signal
 */
async function serve(main, channel, signal) {
  try {
    await whileAlive(Promise.resolve(main(channel, { signal })));
  } catch (error) {
    if (!isFailedWrite(error) || !(signal.aborted || (await wasClosed(channel)))) throw error;
  }
  // Rejects if the session has ended with an error, even if main has swallowed it.
  if (channel.endReason !== null && channel.endReason !== 'local') await channel.read();
}

/** @param {unknown} error */
function isFailedWrite(error) {
  return error instanceof IPCChannelError && (error.code === 'peer-gone' || error.code === 'reset');
}

/**
 * Whether the service has closed its channel, so that it does not want the answer which could not be written.
 *
 * @param {Channel} channel
 */
async function wasClosed(channel) {
  const signal = AbortSignal.timeout(LOOK_FOR_END);
  try {
    while ((await channel.read({ signal })) !== null);
  } catch {
    return false;
  }
  return channel.endReason === 'clean';
}

/**
 * Waits for a promise. Rejects if nothing is left that could settle it: Node would end the process with
 * exit code 0, as after finished work.
 *
 * @template T
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
function whileAlive(promise) {
  return new Promise((resolve, reject) => {
    const stuck = () => reject(new Error('the helper waits for something that cannot happen'));
    process.once('beforeExit', stuck);
    promise.then(resolve, reject).finally(() => process.off('beforeExit', stuck));
  });
}

/**
 * Calls `listener` at the first signal that asks the program to end. Another one after TOGETHER has its
 * default action.
 *
 * @param {() => void} listener
 * @returns {() => void} restores the default action
 */
function onFirstSignal(listener) {
  const release = () => {
    for (const name of ENDING_SIGNALS) process.off(name, heed);
  };
  let isFirst = true;
  function heed() {
    if (!isFirst) return;
    isFirst = false;
    setTimeout(release, TOGETHER).unref();
    listener();
  }
  for (const name of ENDING_SIGNALS) process.on(name, heed);
  return release;
}

/**
 * Prints why the helper has failed: one line for an error of the channel, the stack of any other.
 *
 * @param {unknown} error
 */
function report(error) {
  const text =
    error instanceof IPCChannelError ? `${error.code}: ${error.message}` : inspect(error);
  process.stderr.write(`${programName()}: ${text}\n`);
  process.exitCode ||= FAILED;
}
