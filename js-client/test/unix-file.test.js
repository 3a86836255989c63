// Linux: the client connects to the very socket file that it has looked at. RDV-65
// unix-compared.test.js has the other systems.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';

import { connect } from '../index.js';
import { meddleOnce } from '../testing/meddle.js';
import { frame, openDescriptors } from '../testing/rig.js';
import { at, listenUnix, socketPath } from '../testing/sockets.js';

/** @typedef {import('node:test').TestContext} TestContext */

const INDEX = new URL('../index.js', import.meta.url);
const TIMES = 200;

// Servers that leave as soon as a client comes, one after the other.
const LEAVE = `
import os, socket, sys
directory, times = sys.argv[1], int(sys.argv[2])
servers = []
for number in range(times):
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{directory}/{number}")
    server.listen()
    servers.append(server)
print("listening", flush=True)
for number, server in enumerate(servers):
    peer, _ = server.accept()
    os.unlink(f"{directory}/{number}")
    peer.sendall(bytes([0, 0, 0, 1, number]))
    peer.close()
    server.close()
sys.stdin.read()
`;

// A client that has only so many descriptors left. Node opens some for good with the first connection.
const SHORT = `
  import fs from 'node:fs';
  import { connect } from '${INDEX}';
  const [path] = process.argv.slice(1);
  const options = { inPath: 'unix:' + path, outPath: 'unix:' + path, timeout: Infinity };
  await (await connect(options)).close();
  const fillers = [];
  function fill() {
    try {
      for (;;) fillers.push(fs.openSync('/dev/null'));
    } catch {
      return fillers.length;
    }
  }
  async function withLeft(count) {
    const all = fill();
    for (const fd of fillers.splice(-count, count)) fs.closeSync(fd);
    const said = await connect(options).then(() => 'met', (error) => error.code);
    return said + ' ' + (all - fill());
  }
  const said = [];
  for (const count of [0, 1, 2]) said.push(await withLeft(count));
  for (const fd of fillers) fs.closeSync(fd);
  console.log(said.join(', '));
`;

describe('the socket file', { skip: process.platform !== 'linux' }, () => {
  // Covers RDV-65.
  it(`may go as soon as the server has accepted: ${TIMES} servers are met`, async (t) => {
    const directory = path.dirname(socketPath(t));
    const child = spawn('python3', ['-c', LEAVE, directory, `${TIMES}`], {
      stdio: ['pipe', 'pipe', 'inherit'], // both stay open, and the number of descriptors the same
    });
    t.after(() => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    const before = await openDescriptors();
    for (let number = 0; number < TIMES; number += 1) {
      const channel = await connect({ ...at(`${directory}/${number}`), timeout: 0 });
      assert.deepEqual(await channel.read(), Buffer.from([number]));
      await channel.close();
    }
    assert.equal(await openDescriptors(), before);
  });

  for (const [when, isBefore] of /** @type {const} */ ([
    ['before the client connects', true],
    ['after the client has connected', false],
  ])) {
    // Covers RDV-65.
    it(`is what the client connects to, if its path is swapped ${when}`, async (t) => {
      const [mine, other] = [await listenUnix(t), await listenUnix(t)];
      other.server.on('connection', () => assert.fail('it connected to another file'));
      mine.server.on('connection', (socket) => socket.end(frame('mine')));
      meddleOnce(t, (connectNow) => {
        if (!isBefore) connectNow();
        fs.renameSync(mine.file, `${mine.file}.aside`);
        fs.renameSync(other.file, mine.file);
        if (isBefore) connectNow();
      });
      const channel = await connect({ ...at(mine.file), timeout: 60_000 });
      assert.equal(String(await channel.read()), 'mine');
      await channel.close();
    });
  }

  // Covers RDV-65.
  it('may be gone when the client connects', async (t) => {
    const { server, file } = await listenUnix(t);
    server.on('connection', (socket) => socket.end(frame('from a server that leaves')));
    meddleOnce(t, (connectNow) => {
      fs.rmSync(file);
      connectNow();
    });
    const channel = await connect({ ...at(file), timeout: 0 });
    assert.equal(String(await channel.read()), 'from a server that leaves');
    await channel.close();
  });

  // Covers RDV-10, RDV-11.
  it('takes a descriptor while the client connects; without one, the error is EMFILE', async (t) => {
    const { file } = await listenUnix(t);
    const node = [process.execPath, '--input-type=module', '--eval', SHORT, '--', file];
    const limited = ['-c', 'ulimit -n 64; exec "$@"', 'sh', ...node];
    const { stdout } = await promisify(execFile)('sh', limited);
    // The number is that of the descriptors that are still open. With one left, there is none for the socket.
    assert.equal(stdout, 'EMFILE 0, EMFILE 0, met 1\n');
  });
});
