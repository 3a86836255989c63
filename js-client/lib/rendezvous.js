import { refusal, show } from './refusal.js';
import { TRANSPORTS } from './transports.js';

/**
 * Parses the two strings, both seen from this end, into a transport and its address.
 *
 * @param {unknown} inPath where this end reads from
 * @param {unknown} outPath where this end writes to
 */
export function parseRendezvous(inPath, outPath) {
  const inText = requireText('inPath', inPath);
  const outText = requireText('outPath', outPath);
  const transport = transportOf(inText);
  const other = transportOf(outText);
  if (transport !== other) {
    const text = `in ${show(inText)} is for ${transport.name} and out ${show(outText)} for ${other.name}`;
    throw refusal(`${text}: both must be for the same transport`);
  }
  return { transport, address: transport.parse(inText, outText) };
}

/** @param {string} text */
function transportOf(text) {
  const transport = TRANSPORTS.find(({ recognises }) => recognises(text));
  if (transport !== undefined) return transport;
  const forms = TRANSPORTS.map(({ form }) => form).join(' nor ');
  throw refusal(`${show(text)} is neither ${forms}`);
}

/**
 * The rendezvous strings that a server hands to its helper in the environment.
 *
 * @param {Record<string, string | undefined>} environment
 * @returns {{inPath: string, outPath: string}}
 */
export function fromEnvironment(environment) {
  const inPath = requireVariable(environment, 'IPC_CHANNEL_IN');
  const outPath = requireVariable(environment, 'IPC_CHANNEL_OUT');
  return { inPath, outPath };
}

/**
 * Which variable is missing or empty, and which of the two it is; null if none is.
 *
 * @param {Record<string, string | undefined>} environment
 */
export function missingVariable(environment) {
  const name = ['IPC_CHANNEL_IN', 'IPC_CHANNEL_OUT'].find((each) => !environment[each]);
  return name === undefined ? null : { name, state: stateOf(environment[name]) };
}

/** @param {string | undefined} value */
function stateOf(value) {
  return value === undefined ? 'missing' : 'empty';
}

/**
 * @param {Record<string, string | undefined>} environment
 * @param {string} name
 */
function requireVariable(environment, name) {
  const value = environment[name];
  if (value) return value;
  const state = stateOf(value);
  const origin = 'the service that starts this program sets it';
  const paths = "IPC_CHANNEL_IN to its server's out path and IPC_CHANNEL_OUT to its in path";
  const byHand = `to try it by hand, set ${paths}`;
  throw refusal(`the environment variable ${name} is ${state}: ${origin}; ${byHand}`);
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function requireText(name, value) {
  if (typeof value !== 'string') throw refusal(`${name} must be a string, not ${typeof value}`);
  return value;
}
