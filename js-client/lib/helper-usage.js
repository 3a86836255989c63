import path from 'node:path';
import process from 'node:process';

/** The name of the program, for lines on stderr. */
export function programName() {
  return path.parse(process.argv[1] ?? process.argv0).name;
}

/**
 * What `runHelper` tells somebody who has started a helper by hand.
 *
 * @param {{name: string, state: string}} missing which environment variable there is not
 */
export function usage({ name, state }) {
  const variables = 'IPC_CHANNEL_IN and IPC_CHANNEL_OUT tell it where the service is';
  const python = process.platform === 'win32' ? 'python' : 'python3';
  return `${programName()}: this program is a helper, started by a service: ${variables}.
Environment variable ${name} is ${state}.
To try it, let Python start it, send it a message and print the answer:

    ${python} -c ${shellQuoted(trial(commandLine()))}
`;
}

function commandLine() {
  return [process.argv0, ...process.execArgv, ...process.argv.slice(1)];
}

/**
 * A Python program that starts a helper and exchanges one message with it.
 *
 * @param {string[]} command
 */
export function trial(command) {
  const helper = `Helper([${command.map(pythonQuoted).join(', ')}])`;
  const steps = "channel.write(b'hello'); print(channel.read()); helper.stop()";
  return `from ipc_channel.sync import Helper; helper = ${helper}; channel = helper.start(); ${steps}`;
}

/**
 * A string literal of Python. Single quotes leave the double ones to the shell.
 *
 * @param {string} text
 */
function pythonQuoted(text) {
  const inner = JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'");
  return `'${inner}'`;
}

/**
 * One argument, quoted for a POSIX shell or for Windows.
 *
 * @param {string} text
 */
export function shellQuoted(text) {
  const special = process.platform === 'win32' ? /"/g : /[\\"$`]/g;
  return `"${text.replaceAll(special, '\\$&')}"`;
}
