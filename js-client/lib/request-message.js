import { IPCChannelError } from './errors.js';
import { bytesOf } from './frame.js';

/** The messages of spec/requests.md: kind (1 byte), id (4 bytes, unsigned, big-endian), body. */
export const HEAD_SIZE = 5;
export const REQUEST = 0x11;
export const ANSWER = 0x12;
export const ERROR = 0x13;
export const CANCEL = 0x14;

const CODE_AT = HEAD_SIZE + 1;
const LONGEST_CODE = 64;
/** A message must have room for an error with the longest code. */
export const SMALLEST_LIMIT = CODE_AT + LONGEST_CODE;

const NOTHING = new Uint8Array(0);

/**
 * @param {number} kind
 * @param {number} id
 * @param {Uint8Array} [body] is copied
 */
export function encode(kind, id, body = NOTHING) {
  const message = Buffer.allocUnsafe(HEAD_SIZE + body.length);
  message[0] = kind;
  setId(message, id);
  message.set(body, HEAD_SIZE);
  return message;
}

/**
 * The bytes of a payload that a caller sends, or an error if they cannot be sent.
 *
 * @param {unknown} payload
 * @param {number} maxMessageSize
 */
export function requestPayload(payload, maxMessageSize) {
  const bytes = bytesOf(payload, 'a payload');
  const limit = maxMessageSize - HEAD_SIZE;
  if (bytes.length <= limit) return bytes;
  const hint = 'raise maxMessageSize at both ends, or send the data in parts';
  const text = `payload of ${bytes.length} bytes exceeds the limit of ${limit}: ${hint}`;
  throw new IPCChannelError('message-too-large', text);
}

/**
 * @param {number} id
 * @param {string} code
 * @param {string} text is cut if it is too long for a message
 * @param {number} maxMessageSize
 */
export function encodeError(id, code, text, maxMessageSize) {
  const bytes = Buffer.from(text, 'utf8');
  const length = wholeCharacters(bytes, maxMessageSize - CODE_AT - code.length);
  const message = Buffer.allocUnsafe(CODE_AT + code.length + length);
  message[0] = ERROR;
  setId(message, id);
  message[HEAD_SIZE] = code.length;
  message.write(code, CODE_AT, 'latin1');
  bytes.copy(message, CODE_AT + code.length, 0, length);
  return message;
}

/**
 * The code and the text of a message of the kind ERROR. Bytes that are no UTF-8 become U+FFFD.
 *
 * @param {Buffer} message
 */
export function decodeError(message) {
  const end = CODE_AT + message[HEAD_SIZE];
  return { code: message.toString('latin1', CODE_AT, end), text: message.toString('utf8', end) };
}

/** @param {Buffer} message */
export function idOf(message) {
  return message.readUInt32BE(1);
}

/**
 * @param {Buffer} message
 * @param {number} id
 */
export function setId(message, id) {
  message.writeUInt32BE(id, 1);
}

/**
 * Why the page does not allow a message, whatever the ids of open requests; null if it does.
 *
 * @param {Buffer} message
 * @returns {string | null}
 */
export function faultOf(message) {
  if (message.length < HEAD_SIZE) {
    return `a message of ${bytes(message.length)}, which is shorter than its kind and id (${HEAD_SIZE})`;
  }
  const kind = message[0];
  if (kind === REQUEST || kind === ANSWER) return null;
  if (kind === ERROR) return faultOfError(message);
  if (kind !== CANCEL) return `a message of the unknown kind 0x${kind.toString(16)}`;
  if (message.length === HEAD_SIZE) return null;
  return `a cancel with a body of ${bytes(message.length - HEAD_SIZE)}`;
}

/**
 * @param {Buffer} message
 * @returns {string | null}
 */
function faultOfError(message) {
  if (message.length === HEAD_SIZE) return 'an error without a code';
  const length = message[HEAD_SIZE];
  if (length < 1 || length > LONGEST_CODE) {
    return `an error whose code has ${bytes(length)} instead of 1 to ${LONGEST_CODE}`;
  }
  const code = message.subarray(CODE_AT, CODE_AT + length);
  if (code.length < length) {
    return `an error that ends after ${code.length} of the ${length} bytes of its code`;
  }
  if (code.every(isAllowed)) return null;
  return 'an error whose code has other bytes than lower-case letters, digits and hyphens';
}

/** @param {number} count */
function bytes(count) {
  return count === 1 ? '1 byte' : `${count} bytes`;
}

/** @param {number} byte */
function isAllowed(byte) {
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x2d;
}

/**
 * How many bytes of a text of UTF-8 to send, at most `room`, so that no character is cut.
 *
 * @param {Buffer} bytes
 * @param {number} room
 */
function wholeCharacters(bytes, room) {
  if (bytes.length <= room) return bytes.length;
  let length = room;
  while (length > 0 && (bytes[length] & 0xc0) === 0x80) length -= 1;
  return length;
}
