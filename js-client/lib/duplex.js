import { Duplex } from 'node:stream';

/** @typedef {import('./session.js').Session} Session */

/**
 * A session as a Duplex in object mode, one message a chunk. Ending it sends the close frame and
 * leaves the other direction open; when both have ended, or on destroy, the session is closed.
 *
 * @param {Session} session
 * @returns {Duplex}
 */
export function duplexOver(session) {
  return new Duplex({
    objectMode: true,
    // The session limits by bytes how far it reads ahead; a second queue would add messages to that.
    readableHighWaterMark: 1,
    read() {
      // push throws if a listener for 'data' does. Destroy the stream then, or it would never go on.
      session
        .read(undefined)
        .then((message) => void this.push(message))
        .catch((error) => void this.destroy(error));
    },
    write(message, _encoding, done) {
      session.write(message, undefined).then(() => done(), done);
    },
    writev(chunks, done) {
      const writes = [];
      for (const { chunk } of chunks) {
        writes.push(session.write(chunk, undefined));
        if (!session.canSend(chunk)) break; // nothing may follow a refused message
      }
      Promise.all(writes).then(() => done(), done);
    },
    final(done) {
      // A failure is no error here: a message that the peer did not get has failed already.
      session.sendCloseFrame().then(
        () => done(),
        () => done(),
      );
    },
    destroy(error, done) {
      const closing = session.close();
      // Report an error at once, not only after the linger.
      if (error) done(error);
      else closing.then(() => done(null), done);
    },
  });
}
