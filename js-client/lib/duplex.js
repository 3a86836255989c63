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
    // The session reads ahead by bytes; a second queue that counts messages would only blur that.
    readableHighWaterMark: 1,
    read() {
      // A listener for 'data' that throws does so in push: without an end the stream would stand still.
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
        if (!session.canSend(chunk)) break; // nothing may follow a message that is refused
      }
      Promise.all(writes).then(() => done(), done);
    },
    final(done) {
      // A peer that has gone needs no close frame; a message that it did not get has failed already.
      session.sendCloseFrame().then(
        () => done(),
        () => done(),
      );
    },
    destroy(error, done) {
      const closing = session.close();
      // An error must not wait for a peer that takes nothing.
      if (error) done(error);
      else closing.then(() => done(null), done);
    },
  });
}
