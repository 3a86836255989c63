import { onAbort } from './abort.js';
import { IPCChannelError, systemCode } from './errors.js';
import { Missed, retry } from './retry.js';
import { socketFileAt } from './socket-file.js';
import { UnixStream } from './unix-stream.js';

/** @typedef {import('./unix-address.js').UnixAddress} UnixAddress */

// No waiting will help.
const NEVER = new Set([
  'EACCES',
  'EISDIR',
  'ELOOP',
  'ENAMETOOLONG',
  'ENOTDIR',
  'ENOTSOCK',
  'EPERM',
  'EPROTOTYPE',
]);
// This end has run out of something. That is not about the server, so the caller gets the error itself.
const OUT_OF = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);

/**
 * Connects to the server at its Unix socket.
 *
 * @param {UnixAddress} address
 * @param {import('./retry.js').Deadline} deadline
 * @param {AbortSignal | undefined} signal
 * @param {import('./transports.js').Trust} trust
 * @returns {Promise<UnixStream>}
 */
export async function connectUnix(address, deadline, signal, { allowedUsers }) {
  if (process.platform === 'win32') {
    throw new IPCChannelError('bad-rendezvous', 'Node has no Unix sockets on Windows: use TCP');
  }
  return retry(() => attempt(address, allowedUsers, signal), deadline, signal);
}

/**
 * @param {UnixAddress} address
 * @param {readonly number[]} allowedUsers
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<UnixStream | Missed>}
 */
async function attempt({ path }, allowedUsers, signal) {
  const file = socketFileAt(path, allowedUsers);
  if (file === null) return missed(path, 'ENOENT');
  try {
    const stream = await connectTo(file, signal);
    if (stream !== null) return stream;
    const advice = 'check that only one server uses this path';
    return new Missed(`${path} was replaced meanwhile; ${advice}`);
  } catch (error) {
    return missedBy(error, path);
  } finally {
    file.close();
  }
}

/**
 * Connects to the file that the client has looked at; null if it was another one.
 *
 * @param {import('./socket-file.js').SocketFile} file
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<UnixStream | null>}
 */
async function connectTo(file, signal) {
  const stream = new UnixStream();
  const release = onAbort(signal, () => void stream.destroy());
  let met = false;
  try {
    // Where files are compared, both calls make their system call at once, to leave a server little time in
    // which it accepts, writes and removes its socket.
    const { address } = file;
    [, met] = await Promise.all([stream.open({ path: address }), file.isMet()]);
    return met ? stream : null;
  } finally {
    release();
    if (!met) await stream.destroy();
  }
}

/**
 * What an error of connecting means. Any other error says nothing of the server: the caller gets it.
 *
 * @param {unknown} error
 * @param {import('./path.js').Path} path
 */
function missedBy(error, path) {
  const code = systemCode(error);
  if (code === undefined) return missed(path, 'no answer', error); // the attempt was aborted
  if (NEVER.has(code)) {
    const text = `${path} cannot be reached: ${code}`;
    throw new IPCChannelError('bad-rendezvous', text, { cause: error });
  }
  const { syscall } = /** @type {NodeJS.ErrnoException} */ (error);
  if (syscall !== 'connect' || OUT_OF.has(code)) throw error;
  return missed(path, code, error);
}

/**
 * @param {import('./path.js').Path} path
 * @param {string} why
 * @param {unknown} [cause]
 */
function missed(path, why, cause) {
  const advice =
    why === 'EAGAIN'
      ? "the server's queue is full; check that it accepts connections"
      : 'check that the server is running, and that this is its address';
  return new Missed(`${path}: ${why}; ${advice}`, cause);
}
