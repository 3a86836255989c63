// Named pipes, as a raw server makes, opens and replaces them.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { until } from './wait.js';

const { O_RDONLY, O_WRONLY, O_NONBLOCK } = fs.constants;

/** @typedef {{inPath: string, outPath: string}} Paths as the client sees them */

/**
 * A new directory with two FIFOs in it.
 *
 * @param {import('node:test').TestContext} t
 */
export function makeFifos(t) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'ipc-channel-test-'));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  const paths = { inPath: path.join(directory, 'in'), outPath: path.join(directory, 'out') };
  makeAt(paths.inPath, paths.outPath);
  return paths;
}

/** @param {string[]} names */
export function makeAt(...names) {
  execFileSync('mkfifo', ['-m', '600', ...names]);
}

/** @param {Paths} paths */
export function remove({ inPath, outPath }) {
  fs.rmSync(inPath);
  fs.rmSync(outPath);
}

/** What the next server does. @param {Paths} paths */
export function replace(paths) {
  remove(paths);
  makeAt(paths.inPath, paths.outPath);
}

/** @param {string} fifo */
export function openToRead(fifo) {
  return fs.openSync(fifo, O_RDONLY | O_NONBLOCK);
}

/**
 * Fails when nobody reads.
 *
 * @param {string} fifo
 */
export function openToWrite(fifo) {
  return fs.openSync(fifo, O_WRONLY | O_NONBLOCK);
}

/** @param {string} fifo */
export function isRead(fifo) {
  try {
    fs.closeSync(openToWrite(fifo));
    return true;
  } catch {
    return false;
  }
}

/** @param {string} fifo */
export function untilRead(fifo) {
  return until(() => isRead(fifo), 'somebody reads a FIFO');
}

/**
 * Node cannot set a pipe's capacity; a child that inherits the descriptor can.
 *
 * @param {number} fd
 * @param {number} size
 */
export function resize(fd, size) {
  const code = `import fcntl; fcntl.fcntl(0, 1031, ${size})`;
  execFileSync('python3', ['-c', code], { stdio: [fd, 'ignore', 'inherit'] });
}
