export { Channel } from './lib/channel.js';
export { connect, connectFromEnv } from './lib/connect.js';
export { AbortError, IPCChannelError, RequestError, WrongTypeError } from './lib/errors.js';
export { RequestChannel, serve } from './lib/request-channel.js';
export { runHelper } from './lib/run-helper.js';
