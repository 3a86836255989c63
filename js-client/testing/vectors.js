// The vectors that the clients of every language are checked against.
import fs from 'node:fs';

const FOLDER = new URL('../../spec/vectors/', import.meta.url);

/**
 * @param {string} name
 * @returns {any[]}
 */
export function casesOf(name) {
  const { version, cases } = JSON.parse(fs.readFileSync(new URL(name, FOLDER), 'utf8'));
  if (version !== 1) throw new Error(`${name} has version ${version}, not 1`);
  if (cases.length === 0) throw new Error(`no cases in ${name}`);
  return cases;
}

/**
 * @param {any[]} parts
 * @returns {Buffer}
 */
export function bytesOf(parts) {
  return Buffer.concat(
    parts.map((part) =>
      typeof part === 'string'
        ? Buffer.from(part, 'hex')
        : Buffer.from(part.repeat.repeat(part.times), 'hex'),
    ),
  );
}

/**
 * @param {any[]} messages
 * @returns {Buffer[]}
 */
export function messagesOf(messages) {
  return messages.flatMap((message) =>
    Array.isArray(message)
      ? [bytesOf(message)]
      : Array.from({ length: message.times }, () => Buffer.from(message.repeat_message, 'hex')),
  );
}
