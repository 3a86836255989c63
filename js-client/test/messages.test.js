// An error names the value and the limit, and says what to do.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Channel } from '../index.js';
import { Decoder } from '../lib/decoder.js';
import { payloadOf } from '../lib/frame.js';
import { checkEnvOptions } from '../lib/options.js';
import { fromEnvironment } from '../lib/rendezvous.js';

/** @type {Array<[what: string, call: () => unknown, message: RegExp]>} */
const CASES = [
  [
    'a helper run by hand',
    () => fromEnvironment({}),
    /IPC_CHANNEL_IN is missing: the service that starts this program sets it; to try it by hand, set IPC_CHANNEL_IN to its server's out path and IPC_CHANNEL_OUT to its in path$/,
  ],
  [
    'an empty variable',
    () => fromEnvironment({ IPC_CHANNEL_IN: '5', IPC_CHANNEL_OUT: '' }),
    /IPC_CHANNEL_OUT is empty: the service that starts this program sets it; to try it by hand, set /,
  ],
  [
    'a message over the limit',
    () => payloadOf(Buffer.alloc(11), 10),
    /message of 11 bytes exceeds the limit of 10: raise maxMessageSize at both ends, or send the data in parts/,
  ],
  ['an empty message', () => payloadOf(Buffer.alloc(0), 10), /send at least 1 byte/],
  ['a string', () => payloadOf('text', 10), /not a string \(use Buffer.from\(text\)\)/],
  [
    'a frame over the limit',
    () => {
      const decoder = new Decoder(10);
      decoder.push(Buffer.from([0, 0, 0, 11]), () => {});
      throw decoder.end?.error;
    },
    /frame of 11 bytes exceeds the limit of 10: raise maxMessageSize at both ends/,
  ],
  [
    'an option of the wrong type',
    () => checkEnvOptions({ timeout: '5' }),
    /timeout must be a number of milliseconds, 0 or more; Infinity is no limit, not '5'/,
  ],
  [
    'an option out of range',
    () => checkEnvOptions({ maxMessageSize: 2 ** 32 }),
    /maxMessageSize must be a whole number of bytes from 1 to 4294967295, not 4294967296/,
  ],
  [
    'a channel that was made by hand',
    () => new /** @type {any} */ (Channel)(),
    /a Channel comes from connect\(\) or connectFromEnv\(\), not from new/,
  ],
];

describe('messages of errors', () => {
  for (const [what, call, message] of CASES) {
    // Beyond the specification: what the messages of errors say.
    it(what, () => assert.throws(call, { message }));
  }
});
