// Named pipes, as a raw server makes, opens and replaces them.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { until } from './wait.js';

const { O_RDONLY, O_WRONLY, O_NONBLOCK } = fs.constants;

/** @typedef {{inPath: string, outPath: string}} Paths as the client sees them */

/**
 * A new directory with two named pipes in it.
 *
 * @param {import('node:test').TestContext} t
 */
export function makePipes(t) {
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

/** @param {string} pipe */
export function openToRead(pipe) {
  return fs.openSync(pipe, O_RDONLY | O_NONBLOCK);
}

/**
 * Fails if no process reads.
 *
 * @param {string} pipe
 */
export function openToWrite(pipe) {
  return fs.openSync(pipe, O_WRONLY | O_NONBLOCK);
}

/** @param {string} pipe */
export function isRead(pipe) {
  try {
    fs.closeSync(openToWrite(pipe));
    return true;
  } catch {
    return false;
  }
}

/** @param {string} pipe */
export function untilRead(pipe) {
  return until(() => isRead(pipe), 'a process reads the named pipe');
}

/** @param {number} reader an open read end of a pipe without data */
export function untilWritten(reader) {
  return until(() => {
    try {
      fs.readSync(reader, Buffer.alloc(1));
      return false;
    } catch {
      return true; // EAGAIN: a process has it open for writing
    }
  }, 'a process opens the named pipe for writing');
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
