// Starting programs as clients and as raw peers.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { until } from './wait.js';

/** @typedef {import('node:test').TestContext} TestContext */

/**
 * Starts a program of this package as a helper.
 *
 * @param {TestContext} t
 * @param {string} file relative to the package
 * @param {{inPath: string, outPath: string}} rendezvous
 * @param {string[]} values
 */
export function startHelper(t, file, rendezvous, ...values) {
  return startFile(t, fileURLToPath(new URL(`../${file}`, import.meta.url)), rendezvous, ...values);
}

/**
 * Starts any program as a helper.
 *
 * @param {TestContext} t
 * @param {string} script
 * @param {{inPath: string, outPath: string}} rendezvous
 * @param {string[]} values
 */
export function startFile(t, script, { inPath, outPath }, ...values) {
  const environment = { IPC_CHANNEL_IN: inPath, IPC_CHANNEL_OUT: outPath };
  return start(t, [script, ...values], environment);
}

/**
 * Runs some lines of code in a process of their own.
 *
 * @param {TestContext} t
 * @param {string} code
 * @param {string[]} values
 */
export function startCode(t, code, ...values) {
  return start(t, ['--input-type=module', '--eval', code, '--', ...values], {});
}

/**
 * @param {TestContext} t
 * @param {string[]} values
 * @param {Record<string, string>} environment
 */
function start(t, values, environment) {
  const child = spawn(process.execPath, values, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (text) => {
    output += text;
  });
  child.stderr.on('data', (text) => {
    errors += text;
  });
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, output, errors }));
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await ended;
  });
  /** @param {string} text */
  const said = (text) => until(() => output.includes(text), `"${text}" from a program`);
  return { child, ended, said };
}
