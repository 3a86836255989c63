import { IPCChannelError } from './errors.js';
import { closeEnd, hasReader, inodeAt, openFifo, readNow, sameInode } from './fifo.js';
import { NamedPipeConnection } from './named-pipe-connection.js';
import { retry } from './retry.js';

/**
 * @typedef {import('./fifo.js').FifoEnd} FifoEnd
 * @typedef {import('./fifo.js').Inode} Inode
 * @typedef {import('./rendezvous.js').NamedPipeRendezvous} NamedPipeRendezvous
 */

// What is taken out of the pipe while we still wait for its server: the capacity that an ordinary
// user can give a pipe.
const MOST_LEFTOVERS = 1024 * 1024;

/**
 * Meets the server at two FIFOs that it creates.
 *
 * @param {NamedPipeRendezvous} rendezvous
 * @param {import('./retry.js').Deadline} deadline
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<NamedPipeConnection>}
 */
export async function connectNamedPipe(rendezvous, deadline, signal) {
  if (process.platform === 'win32') {
    throw new IPCChannelError('bad-rendezvous', 'Windows has no named pipes of this kind: use TCP');
  }
  const meeting = new Meeting(rendezvous);
  try {
    return await retry((last) => meeting.attempt(last), deadline, signal);
  } finally {
    meeting.close();
  }
}

/** The attempts of one connect, and what stays open between them. */
class Meeting {
  #inPath;
  #outPath;
  /** @type {FifoEnd | null} kept open from try to try, so that a server can open its end and write */
  #in = null;
  /** @type {FifoEnd | null} */
  #out = null;
  /** @type {Buffer[]} */
  #leftovers = [];
  #inEnded = false;

  /** @param {NamedPipeRendezvous} rendezvous */
  constructor(rendezvous) {
    this.#inPath = rendezvous.inPath;
    this.#outPath = rendezvous.outPath;
  }

  /**
   * @param {boolean} last
   * @returns {NamedPipeConnection | null}
   */
  attempt(last) {
    if (this.#openBoth()) return this.#handOver();
    if (this.#in === null) return null;
    this.#takeLeftovers();
    // Bytes and no writer: the server has come, written and left. Bytes and a writer that does not
    // read: odd, but at the deadline better handed over than lost.
    if (this.#leftovers.length > 0 && (this.#inEnded || last)) return this.#handOver();
    if (!this.#named(this.#inPath, this.#in)) this.close();
    return null;
  }

  close() {
    if (this.#in !== null) closeEnd(this.#in);
    if (this.#out !== null) closeEnd(this.#out);
    this.#in = null;
    this.#out = null;
    this.#leftovers = [];
  }

  #openBoth() {
    const inInode = inodeAt(this.#inPath);
    const outInode = inodeAt(this.#outPath);
    if (inInode === null || outInode === null) return false;
    this.#refuseSame(inInode, outInode);
    if (this.#in !== null && !sameInode(this.#in.inode, inInode)) return false;
    this.#in ??= openFifo(this.#inPath, 'read');
    if (this.#in === null) return false;
    this.#out = openFifo(this.#outPath, 'write');
    if (this.#out === null) return false;
    return this.#isPair(this.#in, this.#out);
  }

  /**
   * @param {Inode} inInode
   * @param {Inode} outInode
   */
  #refuseSame(inInode, outInode) {
    if (!sameInode(inInode, outInode)) return;
    const text = `${this.#inPath} and ${this.#outPath} are the same FIFO`;
    throw new IPCChannelError('bad-rendezvous', text);
  }

  /**
   * A server replaces its FIFOs for the next session, the one that we read from last: if that is
   * right, so is the other. If it is another one by now and the other is right, we hold one of an old
   * pair and one of a new. If both have gone, the pair is that of the server which read it, and which
   * may have written and left meanwhile.
   *
   * @param {FifoEnd} inEnd
   * @param {FifoEnd} outEnd
   */
  #isPair(inEnd, outEnd) {
    const inode = inodeAt(this.#inPath);
    if (inode !== null && sameInode(inode, inEnd.inode)) return true;
    const isMixed = inode !== null && this.#named(this.#outPath, outEnd);
    if (!isMixed && hasReader(outEnd, this.#outPath)) return true;
    this.#takeLeftovers();
    if (!isMixed && this.#leftovers.length > 0) return true;
    this.close();
    return false;
  }

  /**
   * @param {string} path
   * @param {FifoEnd} end
   */
  #named(path, end) {
    const inode = inodeAt(path);
    return inode !== null && sameInode(inode, end.inode);
  }

  #takeLeftovers() {
    if (this.#in === null) return;
    let total = this.#leftovers.reduce((sum, part) => sum + part.length, 0);
    while (total < MOST_LEFTOVERS) {
      const buffer = Buffer.allocUnsafe(64 * 1024);
      const count = readNow(this.#in.fd, buffer);
      if (count === 0) this.#inEnded = total > 0;
      if (!count) return;
      this.#leftovers.push(buffer.subarray(0, count));
      total += count;
    }
  }

  #handOver() {
    const inEnd = /** @type {FifoEnd} */ (this.#in);
    const connection = new NamedPipeConnection({
      inPath: this.#inPath,
      outPath: this.#outPath,
      inEnd,
      outEnd: this.#out,
      leftovers: Buffer.concat(this.#leftovers),
      inEnded: this.#inEnded,
    });
    this.#in = null;
    this.#out = null;
    return connection;
  }
}
