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
    const hint = 'set maxMessageSize at both ends, or send it in parts';
    const text = `message of ${payload.length} bytes exceeds the limit of ${maxMessageSize}: ${hint}`;
    throw new IPCChannelError('message-too-large', text);
  }
  return payload;
}

/**
 * @param {unknown} message
 * @returns {Uint8Array}
 */
function bytesOf(message) {
  const buffer = ArrayBuffer.isView(message) ? message.buffer : message;
  if (types.isArrayBuffer(buffer) && isDetached(buffer)) throw lostMemory();
  if (ArrayBuffer.isView(message)) {
    try {
      return new Uint8Array(message.buffer, message.byteOffset, message.byteLength);
    } catch {
      throw lostMemory(); // a DataView over a buffer that was made smaller
    }
  }
  // With a length: without, the view would grow with a buffer that can.
  if (types.isArrayBuffer(message)) return new Uint8Array(message, 0, message.byteLength);
  throw new WrongTypeError(
    `a message must be a Buffer, a typed array, a DataView or an ArrayBuffer, not ${kindOf(message)}`,
  );
}

export function lostMemory() {
  return new WrongTypeError('the memory of the message was transferred, or made smaller');
}

/**
 * `ArrayBuffer.prototype.detached` is younger than Node 20.
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
