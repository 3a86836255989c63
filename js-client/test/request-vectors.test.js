import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { RequestChannel } from '../index.js';
import { vectorHandler } from '../testing/handlers.js';
import { CLOSE_FRAME, frame, meetOverUnix } from '../testing/rig.js';
import { casesOf } from '../testing/vectors.js';

/**
 * @typedef {import('../index.js').Channel} Channel
 * @typedef {import('../testing/rig.js').Peer} Peer
 * @typedef {{answer: Promise<Buffer>, controller: AbortController}} Call
 */

/** One end that is told the steps of a vector, and the raw peer that takes the other part. */
class Run {
  #channel;
  #requests;
  #peer;
  /** @type {Map<string, Call>} */
  #calls = new Map();
  /** @type {Promise<void> | null} */
  #serving = null;

  /**
   * @param {Channel} channel
   * @param {Peer} peer
   * @param {number | undefined} concurrency
   */
  constructor(channel, peer, concurrency) {
    this.#channel = channel;
    this.#peer = peer;
    this.#requests = new RequestChannel(channel);
    if (concurrency !== undefined) this.#serve(concurrency);
  }

  /** @param {number} concurrency */
  #serve(concurrency) {
    const serving = this.#requests.serve(
      vectorHandler(() => this.#requests),
      { concurrency },
    );
    // As an application does it; after a message that is not allowed the layer itself has to close.
    this.#serving = serving.then(
      () => this.#channel.close(),
      () => {},
    );
  }

  /** @type {Record<string, (value: any, step: any) => Promise<void>>} */
  steps = {
    call: async (name, { payload }) => {
      const controller = new AbortController();
      const { signal } = controller;
      const answer = this.#requests.call(Buffer.from(payload, 'hex'), { signal });
      answer.catch(() => {}); // looked at in a later step
      this.#calls.set(name, { answer, controller });
    },
    cancel: async (name) => this.#call(name).controller.abort(),
    close: async () => void this.#channel.close(),
    // A message behind one that is not allowed may find that the channel is closed.
    receive: (message) => this.#peer.send(frame(Buffer.from(message, 'hex'))).catch(() => {}),
    peer: async (how) => {
      if (how === 'close') return this.#peer.send(CLOSE_FRAME);
      if (how === 'truncated') await this.#peer.send(frame('cut').subarray(0, 5));
      return this.#peer.endWriting();
    },
    sends: async (message) => {
      assert.equal((await this.#peer.readFrame()).toString('hex'), message);
    },
    sends_error: async (id, { code }) => {
      const message = await this.#peer.readFrame();
      assert.deepEqual([message[0], message.readUInt32BE(1)], [0x13, id]);
      assert.equal(message.toString('utf8', 6, 6 + message[5]), code);
    },
    answer: async (name, { payload }) => {
      assert.equal((await this.#call(name).answer).toString('hex'), payload);
    },
    error: async (name, { code, text }) => {
      const error = await this.#call(name).answer.then(() => null, Object);
      assert.equal(error?.code, code);
      if (text !== undefined) assert.equal(error.message, text);
    },
    closes: async () => {
      assert.deepEqual(await this.#peer.readAll(), CLOSE_FRAME);
      await this.#serving;
    },
  };

  /** @param {string} name */
  #call(name) {
    return /** @type {Call} */ (this.#calls.get(name));
  }
}

describe('the vectors of requests', () => {
  for (const { id, serve, max_message_size: maxMessageSize, steps } of casesOf('requests.json')) {
    // Covers REQ-1, REQ-2, REQ-3, REQ-4, REQ-5, REQ-6, REQ-8, REQ-9, REQ-10, REQ-11, REQ-12, REQ-13, REQ-14, REQ-15, REQ-16.
    it(id, async (t) => {
      const { channel, peer } = await meetOverUnix(t, { maxMessageSize });
      const run = new Run(channel, peer, serve);
      for (const step of steps) {
        const [[verb, value]] = Object.entries(step);
        await run.steps[verb](value, step);
      }
    });
  }
});
