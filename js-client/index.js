export { Channel } from './lib/channel.js';
export { connect, connectFromEnv } from './lib/connect.js';
export { AbortError, IPCChannelError, WrongTypeError } from './lib/errors.js';
export { runHelper } from './lib/run-helper.js';
