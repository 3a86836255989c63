import { IPCChannelError } from './errors.js';
import { NamedPipeStream } from './named-pipe-stream.js';
import {
  closeEnd,
  hasReader,
  inodeAt,
  isReadByServer,
  openPipe,
  readNow,
  sameInode,
} from './pipe-end.js';
import { Missed, retry } from './retry.js';

/**
 * @typedef {import('./pipe-end.js').PipeEnd} PipeEnd
 * @typedef {import('./pipe-end.js').Inode} Inode
 * @typedef {import('./pipe-address.js').PipeAddress} PipeAddress
 */

// How many bytes are taken out of the pipe while its server is not there yet: the largest capacity that an
// ordinary user can give a pipe.
const MAX_INITIAL_DATA = 1024 * 1024;

// Reading the locks of the whole system costs more than a try.
const MS_BETWEEN_LOOKS_AT_LOCKS = 100;

/**
 * Connects to the server at two named pipes that it creates.
 *
 * @param {PipeAddress} address
 * @param {import('./retry.js').Deadline} deadline
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<NamedPipeStream>}
 */
export async function connectNamedPipe(address, deadline, signal) {
  if (process.platform === 'win32') {
    throw new IPCChannelError('bad-rendezvous', 'Windows has no named pipes of this kind: use TCP');
  }
  const connector = new PipeConnector(address);
  try {
    return await retry((last) => connector.attempt(last), deadline, signal);
  } finally {
    connector.close();
  }
}

/** One connect over named pipes. It keeps what it has open from one try to the next. */
class PipeConnector {
  #inPath;
  #outPath;
  /** @type {PipeEnd | null} kept open, since the server can open its end only while ours is */
  #in = null;
  /** @type {PipeEnd | null} */
  #out = null;
  /** @type {Buffer[]} */
  #initialData = [];
  #inEnded = false;
  #nextLookAtLocks = 0;

  /** @param {PipeAddress} address */
  constructor({ inPath, outPath }) {
    this.#inPath = inPath;
    this.#outPath = outPath;
  }

  /**
   * @param {boolean} last
   * @returns {NamedPipeStream | Missed}
   */
  attempt(last) {
    this.#open();
    if (this.#in === null) {
      const what = `${this.#inPath} or ${this.#outPath} does not exist`;
      return new Missed(`${what}; check that the server is running`);
    }
    if (this.#seesServer(last)) return this.#handOver();
    const missed = new Missed(
      this.#out === null
        ? this.#whyUnread()
        : `no process has ${this.#inPath} open for writing; check that the server opens both pipes`,
    );
    if (!this.#pathReplaced()) return missed;
    // Meanwhile the server may have come, written, left and removed its pipes.
    if (this.#seesServer(last)) return this.#handOver();
    this.close();
    return missed;
  }

  #whyUnread() {
    return inodeAt(this.#outPath) === null
      ? `${this.#outPath} does not exist; check that the server is running`
      : `no process has ${this.#outPath} open for reading; check that the server is running, and that ` +
          "in and out are not swapped (inPath is the server's out path, and outPath is its in path)";
  }

  close() {
    if (this.#in !== null) closeEnd(this.#in);
    if (this.#out !== null) closeEnd(this.#out);
    this.#in = null;
    this.#out = null;
    this.#initialData = [];
    this.#inEnded = false;
  }

  /** Opens what is not open yet, after it has checked both paths. */
  #open() {
    if (this.#out !== null) return;
    const inInode = inodeAt(this.#inPath);
    const outInode = inodeAt(this.#outPath);
    if (inInode === null || outInode === null) return;
    this.#refuseSame(inInode, outInode);
    this.#in ??= openPipe(this.#inPath, 'read');
    if (this.#in === null) return;
    this.#refuseSwapped(this.#in);
    if (this.#pathReplaced()) return;
    this.#takeInitialData();
    if (!this.#inEnded) this.#out = openPipe(this.#outPath, 'write');
  }

  /**
   * @param {Inode} inInode
   * @param {Inode} outInode
   */
  #refuseSame(inInode, outInode) {
    if (!sameInode(inInode, outInode)) return;
    const text = `${this.#inPath} and ${this.#outPath} are the same named pipe: pass the paths of two pipes`;
    throw new IPCChannelError('bad-rendezvous', text);
  }

  /** @param {PipeEnd} inEnd */
  #refuseSwapped(inEnd) {
    const now = performance.now();
    if (now < this.#nextLookAtLocks) return;
    this.#nextLookAtLocks = now + MS_BETWEEN_LOOKS_AT_LOCKS;
    if (!isReadByServer(inEnd)) return;
    const paths = `in ${this.#inPath} and out ${this.#outPath}`;
    const why = `because the server itself reads from ${this.#inPath}`;
    const how = "pass the server's out path as inPath and its in path as outPath";
    const text = `${paths} are swapped, ${why}: ${how}`;
    throw new IPCChannelError('bad-rendezvous', text);
  }

  /**
   * Whether the server holds both of its ends, or came, wrote and left. Looks at `out` first: a server
   * that writes and leaves between the two looks has left its bytes in `in`.
   *
   * @param {boolean} last
   */
  #seesServer(last) {
    const isRead = this.#isRead();
    const hasWriter = this.#takeInitialData();
    // Look at `out` again: a stray opener may have read it, and left before another opened `in` for writing.
    if (this.#initialData.length === 0) return isRead && hasWriter && this.#isRead();
    // A writer that does not read `out`: at the deadline its bytes are better handed over than lost.
    return this.#out !== null || this.#inEnded || last;
  }

  #isRead() {
    return this.#out !== null && hasReader(this.#out, this.#outPath) === true;
  }

  /** Whether the server has replaced the named pipe that we hold for its next session, or has gone. */
  #pathReplaced() {
    const inode = inodeAt(this.#inPath);
    return inode === null || !sameInode(inode, /** @type {PipeEnd} */ (this.#in).inode);
  }

  /**
   * Reads what is there.
   *
   * @returns {boolean} whether a process has the named pipe open for writing
   */
  #takeInitialData() {
    const { fd } = /** @type {PipeEnd} */ (this.#in);
    let total = this.#initialData.reduce((sum, part) => sum + part.length, 0);
    for (;;) {
      // At the limit, one more byte still tells whether the stream has ended.
      const isFull = total >= MAX_INITIAL_DATA;
      const buffer = Buffer.allocUnsafe(isFull ? 1 : 64 * 1024);
      const count = readNow(fd, buffer);
      if (count === 0) this.#inEnded = total > 0;
      if (!count) return count === null;
      this.#initialData.push(buffer.subarray(0, count));
      total += count;
      if (isFull) return true;
    }
  }

  #handOver() {
    const inEnd = /** @type {PipeEnd} */ (this.#in);
    const stream = new NamedPipeStream({
      inPath: this.#inPath,
      outPath: this.#outPath,
      inEnd,
      outEnd: this.#out,
      initialData: Buffer.concat(this.#initialData),
      inEnded: this.#inEnded,
    });
    this.#in = null;
    this.#out = null;
    return stream;
  }
}
