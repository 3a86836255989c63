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
  | 'timeout'
  | 'unanswered'
  | 'bad-message';

/** How a session ended for its reader. */
export type EndReason = 'clean' | 'eof' | 'truncated' | 'reset' | 'too_large' | 'local';

export interface Options {
  /**
   * How long to wait for the server, in milliseconds. Default 10000. 0 means a single try, which over
   * named pipes finds only a server that already has both pipes open; Infinity means no limit.
   */
  timeout?: number | undefined;
  /** Aborts the connect. It has no effect on the channel. */
  signal?: AbortSignal | undefined;
  /** The longest message in bytes, for sending and receiving. Default 67108864, at most 4294967295. */
  maxMessageSize?: number | undefined;
  /**
   * How long close() waits while the peer takes no output, in milliseconds; the wait starts again
   * whenever the peer takes some. Default 1000. Infinity means no limit.
   */
  linger?: number | undefined;
  /**
   * The ids of further users whose server is trusted at a Unix socket. The client's own effective user and
   * root are always trusted; a server of any other user is refused as `bad-rendezvous` before a byte is sent.
   * Only Unix sockets look at it. Default [].
   */
  allowedUsers?: readonly number[] | undefined;
}

export interface ConnectOptions extends Options {
  /** Where this end reads from: an absolute path, unix:/PATH, or PORT, HOST:PORT or [HOST]:PORT. */
  inPath: string;
  /** Where this end writes to: another absolute path, or the same unix:/PATH or address. */
  outPath: string;
}

export interface CallOptions {
  /** Aborts the call with an AbortError. */
  signal?: AbortSignal | undefined;
}

/**
 * Connects to the server at a rendezvous.
 *
 * Rejects with the code `timeout` if no server came in time, and at once with `bad-rendezvous` if the
 * rendezvous can never work.
 */
export function connect(options: ConnectOptions): Promise<Channel>;

/** Connects to the server that IPC_CHANNEL_IN and IPC_CHANNEL_OUT in the environment name. */
export function connectFromEnv(options?: Options): Promise<Channel>;

/** The options of `runHelper`. */
export type HelperOptions = Omit<Options, 'signal'>;

/**
 * Does everything that a helper needs apart from its own work: connects as `connectFromEnv` does, calls `main`
 * with the channel, closes the channel once `main`'s promise settles, and sets `process.exitCode`. Never
 * rejects. The process then ends as soon as nothing else keeps it alive, so pending output is not lost.
 *
 * The exit code stays as it is, 0 if `main` has not set it, if
 * - `main` resolved, unless the session has ended as `truncated`, `reset` or `too_large`;
 * - a write failed because the service had closed its channel: it does not want the answer any more.
 *
 * It becomes 1, unless `main` has set another, if `main` rejected or can never settle, if the session has
 * ended with an error, even if `main` has caught it, or if no server came. Stderr says why: in one line with
 * the code for an error of the channel, with the stack for any other. It becomes 2 if an environment variable
 * is missing: somebody has started the helper by hand. Stderr then shows a command line to try it with.
 *
 * At SIGINT, SIGTERM or SIGHUP (on Windows also SIGBREAK) reads give null, even if messages are unread, so
 * that `main` finishes the message in hand, sends the answer and returns; `signal` aborts for a `main` that
 * waits for something else. Do not pass it to `write`: the answer would not be sent. Another of
 * these signals more than a second later ends the process at once.
 */
export function runHelper(
  main: (channel: Channel, context: { signal: AbortSignal }) => unknown,
  options?: HelperOptions,
): Promise<void>;

/** A connected channel. `connect` and `connectFromEnv` make it. */
export class Channel implements AsyncIterable<Buffer> {
  private constructor();

  /**
   * How the session ended; null until every message is read and the end has come. Never changes once set.
   */
  readonly endReason: EndReason | null;

  /**
   * The next message, or null at an end without an error (`clean`, `eof`, `local`). Any number of
   * reads may wait; each message goes to exactly one. An aborted read takes no message.
   *
   * Rejects with `truncated`, `reset` or `too-large`; so does every later read.
   */
  read(options?: CallOptions): Promise<Buffer | null>;

  /**
   * Sends one message. Resolves when the kernel has taken all of it. Until then the memory of the
   * message must not change; afterwards it may be used again. Frames go out in the order of the calls.
   *
   * An abort before the kernel was given any of the message takes it back. A later abort only ends the
   * wait, and the message goes out whole. The AbortError does not say which of the two happened.
   *
   * Rejects with `wrong-type` (a TypeError), `empty-message` or `message-too-large` if the message is
   * refused; the channel stays usable. Rejects with `peer-gone`, `reset`, `too-large` or `closed` if
   * nothing can be sent any more. That is also so if the memory of a message is transferred or shrunk
   * when a part of the message has been sent.
   */
  write(message: NodeJS.ArrayBufferView | ArrayBuffer, options?: CallOptions): Promise<void>;

  /**
   * Sends what was written and then the close frame, waits until the peer has taken all of it or has
   * taken nothing for `linger`, and frees everything. Never rejects, and may be called at any time and
   * any number of times. A waiting read resolves to null; a write that could not be completed rejects
   * with `closed`.
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

export interface RequestChannelOptions {
  /**
   * How many requests of this end may be open, and how many of the other end may be unanswered. Default 1024, at
   * most 16777216. Set the same at both ends.
   */
  maxOpen?: number | undefined;
}

export interface RequestOptions {
  /** Ends the wait for the answer: the call sends a cancel, and rejects with the reason of the signal. */
  signal?: AbortSignal | undefined;
  /**
   * How long to wait for the answer, in milliseconds, including the wait until the request may be sent. Default
   * Infinity, which is no limit.
   */
  timeout?: number | undefined;
}

export interface ServeOptions {
  /** How many handlers run at once. Default Infinity: at most `maxOpen` requests are unanswered anyway. */
  concurrency?: number | undefined;
  /**
   * Stops serving: aborts the signals of the handlers that run, and rejects with its reason once they have ended.
   * Requests that arrive later are answered with `unserved`.
   */
  signal?: AbortSignal | undefined;
}

export interface HandlerContext {
  /** Aborts when the request is cancelled, when serving is stopped by its signal, and when the session ends. */
  readonly signal: AbortSignal;
}

type Awaitable<T> = T | PromiseLike<T>;

/**
 * Answers a request with the bytes that it returns. To answer with an error it throws a `RequestError`; any other
 * error is sent with the code `failed`, or `cancelled` if the request was cancelled, and its message as text.
 */
export type RequestHandler = (
  payload: Buffer,
  context: HandlerContext,
) => Awaitable<NodeJS.ArrayBufferView | ArrayBuffer>;

/**
 * Requests and answers over a channel; spec/requests.md says how. From now on all messages of the channel belong to
 * it, and reads of the channel reject with `bad-option` until the session has ended. The other end has to use
 * requests, too. Close the channel itself when you are done.
 *
 * Either end may call, serve, or do both at once. Messages are taken only while a call waits or `serve` has not
 * settled. Requests that arrive while calls wait and nothing serves are answered with `unserved`: an end that does both
 * calls `serve` first.
 */
export class RequestChannel {
  constructor(channel: Channel, options?: RequestChannelOptions);

  /**
   * Sends a request, and resolves to the answer. Waits while `maxOpen` requests are open. The payload may be empty; it
   * is copied, so its memory may be used again at once.
   *
   * Rejects with
   * - a `RequestError` if the other end has answered with an error;
   * - `timeout` or the reason of the signal. The other end is told, and its answer is dropped;
   * - `unanswered` if the session has ended, or the request cannot be sent; `closed` after the own close. The request
   *   may or may not have been handled, unless the message says that it was not sent;
   * - `bad-message` if the other end has sent something that is no message of this layer. The channel is closed then;
   * - `message-too-large` or `wrong-type` if the payload is refused: nothing was sent.
   */
  call(payload: NodeJS.ArrayBufferView | ArrayBuffer, options?: RequestOptions): Promise<Buffer>;

  /**
   * Answers requests until the session ends and every handler has ended. Resolves at an orderly end (`clean`, `eof`,
   * `local`), and when a signal ends a helper of `runHelper`: it then finishes the requests in hand, and answers
   * others with `unserved`. Rejects with `truncated`, `reset`, `too-large` or `bad-message`.
   */
  serve(handler: RequestHandler, options?: ServeOptions): Promise<void>;
}

/** `new RequestChannel(channel, options).serve(handler, options)`, for an end that only answers. */
export function serve(
  channel: Channel,
  handler: RequestHandler,
  options?: RequestChannelOptions & ServeOptions,
): Promise<void>;

/**
 * The error that a request was answered with. A handler throws one to choose the code and the text (`message`).
 *
 * Codes of the layer are `failed`, `cancelled`, `unserved`, `too-large` and `busy`; use others for your own errors.
 */
export class RequestError extends Error {
  /** @param code 1 to 64 lower-case letters, digits and hyphens; refused with `bad-option` otherwise */
  constructor(code: string, text?: string, options?: { cause?: unknown });
  readonly name: 'RequestError';
  readonly code: string;
}

/** The error of a channel; `code` says which. */
export class IPCChannelError extends Error {
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown });
  readonly name: 'IPCChannelError';
  readonly code: ErrorCode;
}

/** The message of a write is not bytes. */
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
