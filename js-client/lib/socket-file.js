import { isUtf8 } from 'node:buffer';
import fs from 'node:fs';
import { unlessNotYet } from './pipe-end.js';
import { refusal } from './refusal.js';
import { whyNotTrusted } from './user.js';

/**
 * The file of a Unix socket that the client has looked at. Node cannot ask the kernel for the server's user,
 * so the client must be connected to this very file (RDV-65).
 *
 * @typedef {import('./path.js').Path} Path
 * @typedef {HeldFile | ComparedFile} SocketFile
 */

const DESCRIPTORS = '/proc/self/fd';
// Opens a file as a place only: nothing is read, and a socket can be opened, too. Node does not name this flag
// of Linux, which is the same on every architecture that Node runs on.
const O_PATH = 0o10000000;

/**
 * The file of the Unix socket at `path`, or null if there is nothing yet. Anything but a socket of a
 * trusted user is refused (RDV-66). The caller closes the file.
 *
 * @param {Path} path
 * @param {readonly number[]} allowedUsers
 * @returns {SocketFile | null}
 */
export function socketFileAt(path, allowedUsers) {
  const Kind = canHold() ? HeldFile : ComparedFile;
  return unlessNotYet(path, () => new Kind(path, allowedUsers));
}

/** Whether a descriptor can be connected to. Without /proc it cannot, nor on systems other than Linux. */
function canHold() {
  return process.platform === 'linux' && fs.existsSync(DESCRIPTORS);
}

/** Linux: a descriptor leads to the file, wherever its path leads by now. */
class HeldFile {
  #fd;

  /**
   * @param {Path} path
   * @param {readonly number[]} allowedUsers
   */
  constructor(path, allowedUsers) {
    this.#fd = fs.openSync(path, O_PATH | fs.constants.O_NOFOLLOW);
    try {
      check(path, fs.fstatSync(this.#fd, { bigint: true }), allowedUsers);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The path to connect to. It is short and in ASCII, whatever the file is called. */
  get address() {
    return `${DESCRIPTORS}/${this.#fd}`;
  }

  /** Whether this is the file that the client has connected to. */
  async isMet() {
    return true;
  }

  close() {
    fs.closeSync(this.#fd);
  }
}

/**
 * Other systems: the same file must be at the path before and after the client connects. The kernel reuses
 * inode numbers, but then the time of the last change differs.
 */
export class ComparedFile {
  #path;
  #stat;

  /**
   * @param {Path} path
   * @param {readonly number[]} allowedUsers
   */
  constructor(path, allowedUsers) {
    // node:net takes the path of a socket as a string only.
    if (typeof path !== 'string' && !isUtf8(path)) {
      const why = 'its path contains bytes that are not UTF-8';
      throw refusal(`Node cannot connect to ${path} without /proc: ${why}; use a path in UTF-8`);
    }
    this.#path = path;
    this.#stat = fs.lstatSync(path, { bigint: true });
    check(path, this.#stat, allowedUsers);
  }

  get address() {
    return this.#path.toString();
  }

  async isMet() {
    const { dev, ino, ctimeNs } = this.#stat;
    const now = unlessNotYet(this.#path, () => fs.lstatSync(this.#path, { bigint: true }));
    // A new owner would have changed the time, too.
    return now?.ino === ino && now.dev === dev && now.ctimeNs === ctimeNs;
  }

  close() {}
}

/**
 * @param {Path} path
 * @param {fs.BigIntStats} stat
 * @param {readonly number[]} allowedUsers
 */
function check(path, stat, allowedUsers) {
  if (stat.isSymbolicLink())
    throw refusal(
      `${path} is a symbolic link, not a Unix socket: pass the path of the socket itself`,
    );
  if (!stat.isSocket())
    throw refusal(`${path} is not a Unix socket: pass the path at which the server listens`);
  const why = whyNotTrusted(stat.uid, allowedUsers);
  if (why !== null) throw refusal(`${path} ${why}`);
}
