// Listening sockets, as a raw server makes them.
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

/** @typedef {import('node:test').TestContext} TestContext */

/** @type {Set<net.Server>} */
const listeners = new Set();

/** Closes every listening socket of the tests in this process. */
export function freeListeners() {
  for (const server of listeners) server.close();
  listeners.clear();
}

/**
 * A listening socket at a free port of 127.0.0.1.
 *
 * @param {TestContext} t
 */
export async function listen(t) {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  listeners.add(server);
  t.after(freeListeners);
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  return { server, address: String(port), port };
}

/**
 * A path for a Unix socket, in a new directory.
 *
 * @param {TestContext} t
 */
export function socketPath(t) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'ipc-channel-test-'));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  return path.join(directory, 'socket');
}

/**
 * A Unix socket that listens.
 *
 * @param {TestContext} t
 * @param {string} [file]
 */
export async function listenUnix(t, file = socketPath(t)) {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.on('connection', outliveFailedWrites);
  server.listen(file);
  await once(server, 'listening');
  listeners.add(server);
  t.after(freeListeners);
  return { server, address: `unix:${file}`, file };
}

/** @param {string} file */
export function at(file) {
  return { inPath: `unix:${file}`, outPath: `unix:${file}` };
}

/**
 * Node destroys a socket whose write fails, and what has arrived is lost. This peer is still to read it.
 *
 * @param {net.Socket} socket
 */
function outliveFailedWrites(socket) {
  const write = socket._write.bind(socket);
  Object.assign(socket, {
    _write: (
      /** @type {any} */ chunk,
      /** @type {any} */ encoding,
      /** @type {() => void} */ done,
    ) => write(chunk, encoding, () => done()),
    _writev: null,
  });
}

/**
 * Makes every connect fail; gives how many there were.
 *
 * @param {TestContext} t
 * @param {string} code
 */
export function failConnect(t, code) {
  /** @this {net.Socket} */
  function fail() {
    const error = Object.assign(new Error(code), { code, syscall: 'connect' });
    process.nextTick(() => this.destroy(error));
    return this;
  }
  const { mock } = t.mock.method(net.Socket.prototype, 'connect', fail);
  return () => mock.callCount();
}
