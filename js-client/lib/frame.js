import { types } from 'node:util';

import { IPCChannelError, WrongTypeError } from './errors.js';

/** A frame is this header, the payload's length as an unsigned big-endian number, and the payload. */
export const HEADER_SIZE = 4;

/**
 * The bytes of a message as a view of the caller's memory, or an error if it cannot be sent.
 *
 * @param {unknown} message
 * @param {number} maxMessageSize
 * @returns {Uint8Array}
 */
export function payloadOf(message, maxMessageSize) {
  const payload = bytesOf(message);
  if (payload.length === 0) {
    // On the wire it would be the close frame.
    const text = 'an empty message cannot be sent: it would read as the end; send at least 1 byte';
    throw new IPCChannelError('empty-message', text);
  }
  if (payload.length > maxMessageSize) {
    const hint = 'raise maxMessageSize at both ends, or send the data in parts';
    const text = `message of ${payload.length} bytes exceeds the limit of ${maxMessageSize}: ${hint}`;
    throw new IPCChannelError('message-too-large', text);
  }
  return payload;
}

/**
 * A view of the caller's memory.
 *
 * @param {unknown} message
 * @param {string} [name] what an error calls it
 * @returns {Uint8Array}
 */
export function bytesOf(message, name = 'a message') {
  const buffer = ArrayBuffer.isView(message) ? message.buffer : message;
  if (types.isArrayBuffer(buffer) && isDetached(buffer)) throw lostMemory();
  if (ArrayBuffer.isView(message)) {
    try {
      return new Uint8Array(message.buffer, message.byteOffset, message.byteLength);
    } catch {
      throw lostMemory(); // a DataView over a buffer that was shrunk
    }
  }
  // With a length, or the view would grow with a resizable buffer.
  if (types.isArrayBuffer(message)) return new Uint8Array(message, 0, message.byteLength);
  throw new WrongTypeError(
    `${name} must be a Buffer, a typed array, a DataView or an ArrayBuffer, not ${kindOf(message)}`,
  );
}

export function lostMemory() {
  const text = 'the memory of the message was transferred or shrunk: keep it until write resolves';
  return new WrongTypeError(text);
}

/**
 * Node 20 does not have `ArrayBuffer.prototype.detached` yet.
 *
 * @param {ArrayBuffer | ArrayBufferLike} buffer
 */
function isDetached(buffer) {
  if (buffer.byteLength > 0) return false;
  try {
    new Uint8Array(buffer);
    return false;
  } catch {
    return true;
  }
}

/** @param {unknown} value */
function kindOf(value) {
  if (value === null) return 'null';
  if (typeof value === 'string') return 'a string (use Buffer.from(text))';
  if (typeof value !== 'object') return typeof value;
  return value.constructor?.name ?? 'an object';
}
