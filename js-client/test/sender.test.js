import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { closed, peerGone, tooLarge } from '../lib/end.js';
import { Queue } from '../lib/queue.js';
import { Sender } from '../lib/sender.js';
import { SessionState } from '../lib/session-state.js';
import { CLOSE_FRAME, frame, pattern } from '../testing/rig.js';
import { turn } from '../testing/wait.js';

/** A sender over a kernel that takes a batch when the test says so. */
function manualSender() {
  /** @type {Buffer[]} */
  const taken = [];
  /** @type {(() => void)[]} */
  const steps = [];
  const state = new SessionState(new Queue());
  const sender = new Sender(state, {
    write: (bytes, done) => {
      taken.push(Buffer.from(bytes));
      steps.push(done);
    },
    changed: () => {},
    aborted: () => {},
  });
  const runAll = async () => {
    for (let step = steps.shift(); step; step = steps.shift()) {
      step();
      await turn();
    }
  };
  return { state, sender, taken, steps, runAll, wire: () => Buffer.concat(taken) };
}

describe('sender', () => {
  // Beyond the specification: few system calls.
  it('gives the kernel header and payload together, and small frames together', async () => {
    const { sender, taken, runAll } = manualSender();
    for (const text of ['first', 'second', 'third']) void sender.send(Buffer.from(text));
    await runAll();
    assert.deepEqual(taken, [frame('first'), Buffer.concat([frame('second'), frame('third')])]);
  });

  // Beyond the specification: a header takes one system call.
  it('never cuts a header', async () => {
    const { sender, taken, runAll } = manualSender();
    void sender.send(Buffer.from('x'));
    // Leaves 3 bytes of a batch of 64 KiB.
    void sender.send(Buffer.alloc(65536 - 3 - 4));
    void sender.send(Buffer.from('y'));
    await runAll();
    assert.deepEqual(taken[2], frame('y'));
  });

  // Covers FRM-1, SES-20.
  it('keeps the order of the calls over many sizes', async () => {
    const { sender, runAll, wire } = manualSender();
    const messages = [1, 70_000, 3, 65_532, 65_533, 200_000, 65_536, 2].map(pattern);
    const writes = messages.map((message) => sender.send(message));
    await runAll();
    await Promise.all(writes);
    assert.ok(wire().equals(Buffer.concat(messages.map(frame))));
  });

  // Covers SES-21.
  it('takes back a frame that was not begun', async () => {
    const { sender, runAll, wire } = manualSender();
    const controller = new AbortController();
    void sender.send(Buffer.from('one'));
    const second = sender.send(Buffer.from('two'), controller.signal);
    void sender.send(Buffer.from('three'));
    controller.abort();
    await assert.rejects(second, { name: 'AbortError' });
    await runAll();
    assert.deepEqual(wire(), Buffer.concat([frame('one'), frame('three')]));
  });

  // Covers SES-21.
  it('sends a frame whole that was begun, from memory of its own', async () => {
    const { sender, runAll, wire } = manualSender();
    const controller = new AbortController();
    const message = pattern(300_000);
    const copy = Buffer.from(message);
    const write = sender.send(message, controller.signal);
    controller.abort();
    await assert.rejects(write, { name: 'AbortError' });
    message.fill(0);
    void sender.send(Buffer.from('next'));
    await runAll();
    assert.ok(wire().equals(Buffer.concat([frame(copy), frame('next')])));
  });

  // Covers SES-31.
  it('sends one close frame, however often it is asked', async () => {
    const { sender, runAll, wire } = manualSender();
    void sender.send(Buffer.from('last'));
    const finished = [sender.sendCloseFrame(), sender.sendCloseFrame()];
    await runAll();
    await Promise.all(finished);
    assert.deepEqual(wire(), Buffer.concat([frame('last'), CLOSE_FRAME]));
  });

  // Covers SES-26, SES-37.
  it('refuses writes that wait, but not the frame that has begun nor the close frame', async () => {
    const { state, sender, taken, steps, runAll, wire } = manualSender();
    const messages = [Buffer.from('first'), pattern(70_000), Buffer.from('behind')];
    const writes = messages.map((message) => sender.send(message));
    const refused = writes.slice(1).map((write) => assert.rejects(write, { code: 'too-large' }));
    const finished = sender.sendCloseFrame();
    steps.shift()?.();
    assert.equal(taken.length, 2, 'a part of the second frame is out');
    state.on('over-limit', tooLarge(5, 4).error);
    sender.followState();
    await runAll();
    await Promise.all([...refused, finished]);
    assert.deepEqual(wire(), Buffer.concat([frame('first'), frame(messages[1]), CLOSE_FRAME]));
  });

  // Covers SES-26, SES-36.
  it('gives a failure to every write that waits and to every later one', async () => {
    const { state, sender, taken, steps } = manualSender();
    const waiting = [sender.send(Buffer.alloc(200_000)), sender.send(Buffer.from('x'))];
    state.on('peer-gone-on-write', peerGone(new Error('why')));
    sender.followState();
    steps.shift()?.(); // too late
    for (const write of [...waiting, sender.send(Buffer.from('y')), sender.sendCloseFrame()]) {
      await assert.rejects(write, { code: 'peer-gone' });
    }
    assert.equal(taken.length, 1);
    assert.equal(sender.busy, false);
  });

  // Covers SES-26, SES-31, SES-33.
  it('sends what was accepted before the close, and gives up as closed', async () => {
    const { state, sender, steps, taken } = manualSender();
    const writes = ['a', 'b', 'c'].map((text) => sender.send(Buffer.from(text)));
    state.on('close');
    sender.followState();
    await assert.rejects(sender.send(Buffer.from('later')), { code: 'closed' });
    const finished = sender.sendCloseFrame();
    steps.shift()?.();
    await writes[0];
    assert.deepEqual(taken[1], Buffer.concat([frame('b'), frame('c'), CLOSE_FRAME]));
    sender.drop();
    for (const write of [writes[1], writes[2], finished]) {
      await assert.rejects(write, { code: 'closed', message: closed().message });
    }
  });

  // Covers FRM-3.
  it('refuses messages behind the close frame', async () => {
    const { sender, runAll } = manualSender();
    const finished = sender.sendCloseFrame();
    await assert.rejects(sender.send(Buffer.from('later')), /has sent its close frame/);
    await runAll();
    await finished;
  });
});
