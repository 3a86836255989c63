import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { RequestChannel, serve } from '../index.js';
import { stopReading } from '../lib/channel.js';
import { framed, gate, told, untilAborted } from '../testing/requests.js';
import { CLOSE_FRAME, frame, meetOverUnix, TRANSPORTS } from '../testing/rig.js';
import { turn } from '../testing/wait.js';

describe('serve at the end of the session', () => {
  for (const [when, claimsFirst] of /** @type {const} */ ([
    ['before its channel had a RequestChannel', false],
    ['before serve', true],
  ])) {
    // Beyond the specification: a helper that is told to end before it serves.
    it(`resolves at once if the helper was told to end ${when}`, async (t) => {
      const { channel } = await meetOverUnix(t);
      const early = claimsFirst ? new RequestChannel(channel) : null;
      stopReading(/** @type {any} */ (channel));
      await (early ?? new RequestChannel(channel)).serve((payload) => payload);
      assert.equal(channel.endReason, null);
    });
  }

  for (const [end, last, code] of /** @type {const} */ ([
    ['clean', CLOSE_FRAME, null],
    ['eof', Buffer.alloc(0), null],
    ['truncated', Buffer.alloc(2), 'truncated'],
  ])) {
    // Covers REQ-16.
    it(`aborts its handlers, waits for them, and tells how it ended: ${end}`, async (t) => {
      const { channel, peer } = await meetOverUnix(t);
      const aborted = gate();
      const ending = gate();
      /** @type {string[]} */
      const log = [];
      const serving = serve(channel, async (_, { signal }) => {
        await untilAborted(signal).catch(aborted.open);
        await ending.opened;
        log.push('handler');
        return Buffer.from('nobody wants it');
      });
      const settled = serving.then(
        () => log.push('serve'),
        (error) => log.push(error.code),
      );
      await peer.send(framed('request', 1));
      await peer.send(last);
      await peer.endWriting();
      const reason = await aborted.opened;
      assert.deepEqual([reason.code, reason.cause?.code ?? null], ['unanswered', code]);
      await turn();
      assert.deepEqual(log, []);
      ending.open();
      await settled;
      assert.deepEqual(log, ['handler', code ?? 'serve']);
      assert.equal(channel.endReason, end);
      await channel.close();
      assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
    });
  }

  // Covers REQ-15, REQ-16.
  it('resolves after the own close, even within a handler', async (t) => {
    const { channel, peer } = await meetOverUnix(t);
    const requests = new RequestChannel(channel);
    const call = requests.call(Buffer.alloc(0));
    const serving = requests.serve((payload) => {
      void channel.close();
      return payload;
    });
    await peer.send(Buffer.concat([1, 2].map((id) => framed('request', id))));
    await assert.rejects(call, { code: 'closed' });
    await serving;
    await requests.serve((payload) => payload); // again, when it has ended
    await assert.rejects(requests.call(Buffer.alloc(0)), { code: 'closed' });
    assert.deepEqual(await told(peer), ['request', 1, '']);
    assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
  });

  for (const { name, meet } of TRANSPORTS) {
    // Covers REQ-4, REQ-15.
    it(`rejects with bad-message, as do all calls, and closes: ${name}`, async (t) => {
      const { channel, peer } = await meet(t, { linger: Infinity });
      const requests = new RequestChannel(channel);
      const call = requests.call(Buffer.alloc(0));
      const serving = requests.serve((payload) => payload);
      await peer.send(Buffer.concat([framed('cancel', 1, 'body'), framed('request', 1)]));
      for (const rejected of [call, serving]) {
        await assert.rejects(rejected, {
          code: 'bad-message',
          message: /^the peer has sent a cancel with a body of 4 bytes: /,
        });
      }
      assert.equal(channel.endReason, 'local');
      await assert.rejects(requests.call(Buffer.alloc(0)), { code: 'bad-message' });
      await assert.rejects(
        requests.serve((payload) => payload),
        { code: 'bad-message' },
      );
      assert.deepEqual(await told(peer), ['request', 1, '']);
      assert.deepEqual(await peer.readFrame(), Buffer.alloc(0));
      await peer.endWriting();
      await channel.close(); // reads on to the end of the input
    });
  }
});

describe('calls at the end of the session', () => {
  const bad =
    'the peer has sent a message of 1 byte, which is shorter than its kind and id (5): ' +
    'the peer has to use requests and answers, too, for all of its messages';
  for (const { title, end, code, cause, sent, unsent } of /** @type {const} */ ([
    {
      title: 'in good order',
      end: CLOSE_FRAME,
      code: 'unanswered',
      cause: undefined,
      sent: 'the session has ended (clean): the request may or may not have been handled',
      unsent: 'the session has ended (clean), and the request was not sent',
    },
    {
      title: 'with an error',
      end: Buffer.alloc(2),
      code: 'unanswered',
      cause: 'truncated',
      sent: 'the session has ended (truncated): the request may or may not have been handled',
      unsent: 'the session has ended (truncated), and the request was not sent',
    },
    {
      title: 'by the own close',
      end: null,
      code: 'closed',
      cause: undefined,
      sent: 'the channel was closed at this end: connect again for a new session',
      unsent:
        'the channel was closed at this end, and the request was not sent: connect again for a new session',
    },
    {
      title: 'after a bad message',
      end: frame('x'),
      code: 'bad-message',
      cause: undefined,
      sent: bad,
      unsent: `the request was not sent: ${bad}`,
    },
  ])) {
    // Covers REQ-15.
    it(`say what was not sent: ${title}`, async (t) => {
      const { channel, peer } = await meetOverUnix(t);
      const requests = new RequestChannel(channel, { maxOpen: 1 });
      const calls = [1, 2].map(() => requests.call(Buffer.alloc(0)));
      const settled = Promise.allSettled(calls);
      assert.deepEqual(await told(peer), ['request', 1, '']);
      if (end === null) {
        await channel.close();
      } else {
        await peer.send(end);
        await peer.endWriting();
      }
      const ended = await settled;
      const all = [...ended, ...(await Promise.allSettled([requests.call(Buffer.alloc(0))]))];
      const errors = all.map((one) => /** @type {any} */ (one).reason);
      assert.deepEqual(
        errors.map((error) => error.message),
        [sent, unsent, unsent],
      );
      assert.deepEqual(new Set(errors.map((error) => error.code)), new Set([code]));
      if (code === 'unanswered') {
        assert.deepEqual(new Set(errors.map((error) => error.cause?.code)), new Set([cause]));
      }
    });
  }
});
