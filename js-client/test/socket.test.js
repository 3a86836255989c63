import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { closeEnd, openPipe } from '../lib/pipe-end.js';
import { Socket } from '../lib/socket.js';
import { makePipes } from '../testing/pipes.js';

/** @typedef {import('../lib/pipe-end.js').PipeEnd} PipeEnd */

describe('socket', () => {
  // Covers SES-23.
  it('reports a failed write to its writer and is not destroyed by it', async (t) => {
    const { inPath } = makePipes(t);
    const reader = /** @type {PipeEnd} */ (openPipe(inPath, 'read'));
    const writer = /** @type {PipeEnd} */ (openPipe(inPath, 'write'));
    const socket = new Socket({ fd: writer.fd, readable: false, writable: true }, () => false);
    socket.on('error', (error) => assert.fail(error));
    const send = () => new Promise((resolve) => socket.send(Buffer.from('x'), resolve));
    assert.equal(await send(), null);
    closeEnd(reader);
    assert.equal((await send()).code, 'EPIPE');
    assert.equal((await send()).code, 'EPIPE');
    assert.equal(socket.destroyed, false);
    socket.destroy();
    await socket.freed;
  });

  // Covers SES-33.
  it('does not call a write a success that was cut off', async (t) => {
    const { inPath } = makePipes(t);
    const reader = /** @type {PipeEnd} */ (openPipe(inPath, 'read'));
    const writer = /** @type {PipeEnd} */ (openPipe(inPath, 'write'));
    const socket = new Socket({ fd: writer.fd, readable: false, writable: true }, () => false);
    const sent = new Promise((resolve) => socket.send(Buffer.alloc(1_000_000), resolve));
    socket.destroy();
    assert.ok((await sent) instanceof Error);
    await socket.freed;
    closeEnd(reader);
  });

  // Covers SES-26.
  it('gives a write the reset that destroyed it before', async (t) => {
    const { inPath } = makePipes(t);
    const reader = /** @type {PipeEnd} */ (openPipe(inPath, 'read'));
    const writer = /** @type {PipeEnd} */ (openPipe(inPath, 'write'));
    const socket = new Socket({ fd: writer.fd, readable: false, writable: true }, () => false);
    socket.on('error', () => {});
    socket.destroy(Object.assign(new Error('reset by the peer'), { code: 'ECONNRESET' }));
    const error = await new Promise((resolve) => socket.send(Buffer.from('x'), resolve));
    assert.equal(error.code, 'ECONNRESET');
    await socket.freed;
    closeEnd(reader);
  });
});
