import fs from 'node:fs/promises';
import os from 'node:os';

/**
 * How many bytes of output the peer's kernel has not acknowledged, the end of the stream included.
 *
 * Null if the system cannot tell, which only Linux can. Node has no way to ask about a single socket
 * (SIOCOUTQ), so this reads the kernel's table of all connections.
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
 * A loopback address in the notation of the table: 32-bit words in the machine's byte order, in hex.
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
