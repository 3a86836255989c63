import fs from 'node:fs';

import { IPCChannelError, systemCode } from './errors.js';
import { isLossy } from './path.js';
import { whyNotOurs } from './user.js';

const { O_RDONLY, O_WRONLY, O_NONBLOCK, O_NOFOLLOW } = fs.constants;

// No thread of libuv's pool may ever block in open() or read() of a named pipe: four blocked threads stop
// every other user of the pool, and process.exit() hangs. So every call here is synchronous and does not
// block.

/**
 * An open end of a named pipe and the inode it leads to.
 *
 * @typedef {import('./path.js').Path} Path
 * @typedef {{fd: number, inode: Inode}} PipeEnd
 * @typedef {{dev: bigint, ino: bigint}} Inode
 */

// The path may still be created, or no process reads the pipe yet.
const NOT_YET = new Set(['ENOENT', 'ENXIO']);
const NEVER = new Set(['ENOTDIR', 'EISDIR', 'ELOOP', 'EACCES', 'EPERM', 'ENAMETOOLONG']);

/**
 * The inode of the named pipe at `path`, or null if there is nothing yet. Anything but a named pipe of
 * our own user is refused.
 *
 * @param {Path} path
 * @returns {Inode | null}
 */
export function inodeAt(path) {
  return unlessNotYet(path, () => {
    const stat = fs.lstatSync(path, { bigint: true });
    check(path, stat);
    return { dev: stat.dev, ino: stat.ino };
  });
}

/**
 * Opens an end of the named pipe at `path`, or gives null if that is not possible yet.
 *
 * @param {Path} path
 * @param {'read' | 'write'} end
 * @returns {PipeEnd | null}
 */
export function openPipe(path, end) {
  const access = end === 'read' ? O_RDONLY : O_WRONLY;
  return unlessNotYet(path, () => {
    const fd = fs.openSync(path, access | O_NONBLOCK | O_NOFOLLOW);
    try {
      // Check again what is open: the path may lead to another file by now.
      const stat = fs.fstatSync(fd, { bigint: true });
      check(path, stat);
      return { fd, inode: { dev: stat.dev, ino: stat.ino } };
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  });
}

/**
 * Opens the named pipe behind an open read end once more, even if its path leads elsewhere by now.
 *
 * @param {PipeEnd} end
 * @param {Path} path
 * @returns {PipeEnd | null} null if it cannot be found any more
 */
export function reopenToRead(end, path) {
  return unlessNotYet(path, () => ({ fd: openAgain(end, path, O_RDONLY), inode: end.inode }));
}

/**
 * Whether a process has the named pipe behind an open write end open for reading. Opening it for writing
 * tells; a write would tell as well, but would leave bytes.
 *
 * @param {PipeEnd} end
 * @param {Path} path
 * @returns {boolean | null} null if it cannot be told
 */
export function hasReader(end, path) {
  try {
    fs.closeSync(openAgain(end, path, O_WRONLY));
    return true;
  } catch (error) {
    // Any other error, such as EMFILE, tells nothing about the reader.
    return NOT_YET.has(systemCode(error) ?? '') ? false : null;
  }
}

/**
 * @param {PipeEnd} end
 * @param {Path} path
 * @param {number} access
 */
function openAgain(end, path, access) {
  const descriptor = `/proc/self/fd/${end.fd}`;
  if (fs.existsSync(descriptor)) return fs.openSync(descriptor, access | O_NONBLOCK);
  // No /proc: by name, if it still leads there.
  const inode = inodeAt(path);
  if (inode === null || !sameInode(inode, end.inode)) {
    throw Object.assign(new Error(`${path} leads elsewhere`), { code: 'ENOENT' });
  }
  return fs.openSync(path, access | O_NONBLOCK | O_NOFOLLOW);
}

/**
 * Whether a server has locked the named pipe behind an open end. A server locks the pipe that it reads, so
 * that a client whose paths are swapped notices. Node has no flock(), but Linux lists all locks.
 *
 * @param {PipeEnd} end
 */
export function isReadByServer({ inode }) {
  let locks;
  try {
    locks = fs.readFileSync('/proc/locks', 'latin1');
  } catch {
    return false; // without /proc there is no way to tell
  }
  const device = [major(inode.dev), minor(inode.dev)].map((part) =>
    part.toString(16).padStart(2, '0'),
  );
  const what = `${device.join(':')}:${inode.ino}`;
  return new RegExp(`^[0-9]+: FLOCK +[A-Z]+ +WRITE +[0-9]+ ${what} `, 'm').test(locks);
}

/** @param {bigint} device as stat() gives it */
const major = (device) => ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);

/** @param {bigint} device */
const minor = (device) => (device & 0xffn) | ((device >> 12n) & 0xffffff00n);

/**
 * Reads what is there.
 *
 * @param {number} fd
 * @param {Buffer} buffer
 * @returns {number | null} 0 if nothing is left and there is no writer, null if there is a writer
 */
export function readNow(fd, buffer) {
  try {
    return fs.readSync(fd, buffer, 0, buffer.length, null);
  } catch (error) {
    if (systemCode(error) === 'EAGAIN') return null;
    throw error;
  }
}

/** @param {PipeEnd} end */
export function closeEnd(end) {
  fs.closeSync(end.fd);
}

/**
 * @param {Inode} a
 * @param {Inode} b
 */
export function sameInode(a, b) {
  return a.ino === b.ino && a.dev === b.dev;
}

/**
 * @param {Path} path
 * @param {fs.BigIntStats} stat
 */
function check(path, stat) {
  if (stat.isSymbolicLink()) {
    throw bad(`${path} is a symbolic link, not a named pipe: pass the path of the pipe itself`);
  }
  if (!stat.isFIFO()) {
    throw bad(
      `${path} is not a named pipe: pass the paths of the pipes that the server has created`,
    );
  }
  const why = whyNotOurs(stat.uid);
  if (why !== null) throw bad(`${path} ${why}`);
}

/**
 * @template T
 * @param {Path} path
 * @param {() => T} call
 * @returns {T | null}
 */
export function unlessNotYet(path, call) {
  try {
    return call();
  } catch (error) {
    const code = systemCode(error) ?? '';
    if (code === 'ENOENT' && isLossy(path)) {
      const why = 'if it contains bytes that are not UTF-8, Node has lost them: use paths in UTF-8';
      throw bad(`${path} does not exist; ${why}`);
    }
    if (NOT_YET.has(code)) return null;
    if (NEVER.has(code)) throw bad(`${path} cannot be opened: ${code}`, error);
    throw error;
  }
}

/**
 * @param {string} message
 * @param {unknown} [cause]
 */
function bad(message, cause) {
  return new IPCChannelError('bad-rendezvous', message, { cause });
}
