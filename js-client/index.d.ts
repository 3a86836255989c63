/// <reference types="node" />
import type { Duplex } from 'node:stream';

/** What is wrong; see the table of errors in the README. */
export type ErrorCode =
  | 'truncated'
  | 'reset'
  | 'too-large'
  | 'peer-gone'
  | 'closed'
  | 'bad-rendezvous'
  | 'empty-message'
  | 'message-too-large'
  | 'wrong-type'
  | 'bad-option'
  | 'timeout';

/** How a session ended for its reader. */
export type EndReason = 'clean' | 'eof' | 'truncated' | 'reset' | 'too_large' | 'local';

export interface Options {
  /**
   * How long to wait for the server, in milliseconds. Default 10000. 0 means one try, which over named pipes
   * finds only a server that holds both; Infinity means no limit.
   */
  timeout?: number | undefined;
  /** Aborts the connect (not the channel that comes of it). */
  signal?: AbortSignal | undefined;
  /** The longest message in bytes, for sending and receiving. Default 67108864, at most 4294967295. */
  maxMessageSize?: number | undefined;
  /**
   * How long close() waits for a peer that takes no output, in milliseconds, anew whenever it takes
   * some. Default 1000. Infinity means no limit.
   */
  linger?: number | undefined;
}

export interface ConnectOptions extends Options {
  /** Where this end reads from: an absolute path, or PORT, HOST:PORT or [HOST]:PORT. */
  inPath: string;
  /** Where this end writes to: another absolute path, or the same address. */
  outPath: string;
}

export interface CallOptions {
  /** Aborts the call with an AbortError. */
  signal?: AbortSignal | undefined;
}

/**
 * Meets the server at a rendezvous.
 *
 * Rejects with the code `timeout` when nobody came, and with `bad-rendezvous` at once when nobody
 * ever can.
 */
export function connect(options: ConnectOptions): Promise<Channel>;

/** Meets the server at the rendezvous in the environment, IPC_CHANNEL_IN and IPC_CHANNEL_OUT. */
export function connectFromEnv(options?: Options): Promise<Channel>;

/** A connected channel. `connect` and `connectFromEnv` make it. */
export class Channel implements AsyncIterable<Buffer> {
  private constructor();

  /**
   * How the session ended; null while there is something to read or to wait for. Never changes once set.
   */
  readonly endReason: EndReason | null;

  /**
   * The next message, or null at an end without an error (`clean`, `eof`, `local`). Any number of
   * reads may wait; each message goes to exactly one. An aborted read takes no message.
   *
   * Rejects with `truncated`, `reset` or `too-large`, each time again.
   */
  read(options?: CallOptions): Promise<Buffer | null>;

  /**
   * Sends one message. Resolves when the kernel has taken all of it: then the memory may be used
   * again. Until then it must not change. Frames go out in the order of the calls.
   *
   * An abort before the kernel was given any of it takes the message back; later it only ends the
   * waiting, and the message goes out whole. The AbortError does not tell which of the two it was.
   *
   * Rejects with `wrong-type` (a TypeError), `empty-message`, `message-too-large` and sends nothing;
   * with `peer-gone`, `reset`, `too-large` or `closed` when nothing can be sent any more. So it is once
   * the memory of a message was transferred, or made smaller, while a part of it was out.
   */
  write(message: NodeJS.ArrayBufferView | ArrayBuffer, options?: CallOptions): Promise<void>;

  /**
   * Sends what was written, then the close frame, waits until the peer has taken it or has taken
   * nothing for `linger`, and frees everything. Never rejects; may be called at any time and any number of times. A read
   * that waits gets null; a write that could not be completed gets `closed`.
   */
  close(): Promise<void>;

  /**
   * The channel as a Duplex in object mode, one message a chunk; always the same one. Ending it sends
   * the close frame and leaves the other direction open; once both have ended the channel is closed.
   */
  stream(): Duplex;

  /** The messages up to the end. Leaving the loop leaves the channel open. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Buffer>;

  /** close() */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What goes wrong in a channel. */
export class IPCChannelError extends Error {
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown });
  readonly name: 'IPCChannelError';
  readonly code: ErrorCode;
}

/** Something that is not bytes was given to write. */
export class WrongTypeError extends TypeError {
  constructor(message: string);
  readonly code: 'wrong-type';
}

/** A call was aborted by its signal, whose reason is the cause. */
export class AbortError extends Error {
  constructor(reason: unknown);
  readonly name: 'AbortError';
  readonly code: 'ABORT_ERR';
}
