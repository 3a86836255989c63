import fs from 'node:fs/promises';
import os from 'node:os';

/**
 * How many bytes of output the peer's kernel does not have yet, the end of the stream included.
 *
 * Null if that cannot be known, as on other systems than Linux. Node cannot ask the kernel about one
 * socket (SIOCOUTQ), so this looks it up in the kernel's table of all.
 *
 * @param {import('node:net').Socket} socket
 * @returns {Promise<number | null>}
 */
export async function unacknowledged({ localAddress, localPort, remoteAddress, remotePort }) {
  if (localAddress === undefined || remoteAddress === undefined) return null; // destroyed
  const file = localAddress.includes(':') ? 'tcp6' : 'tcp';
  const ends = [entry(localAddress, localPort), entry(remoteAddress, remotePort)].join(' ');
  const table = await read(`/proc/self/net/${file}`);
  const [, queue] = new RegExp(`: ${ends} \\w\\w (\\w+):`).exec(table) ?? [];
  return queue === undefined ? null : Number.parseInt(queue, 16);
}

/**
 * An address of the loopback as the table shows it: words of the machine, in hex.
 *
 * @param {string} address
 * @param {number} [port]
 */
function entry(address, port = 0) {
  const bytes = address === '::1' ? Buffer.alloc(16) : Buffer.from(address.split('.').map(Number));
  if (address === '::1') bytes[15] = 1;
  if (os.endianness() === 'LE') bytes.swap32();
  return `${hex(bytes)}:${hex([port >> 8, port & 0xff])}`;
}

/** @param {Iterable<number>} bytes */
function hex(bytes) {
  return Buffer.from([...bytes])
    .toString('hex')
    .toUpperCase();
}

/** @param {string} path */
async function read(path) {
  try {
    return await fs.readFile(path, 'latin1');
  } catch {
    return ''; // no Linux, or no descriptor left
  }
}
