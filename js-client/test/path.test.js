// Paths with bytes that are not UTF-8. RDV-36
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { connect } from '../index.js';
import { exactPath, isLossy } from '../lib/path.js';
import { makePipes } from '../testing/pipes.js';
import { frame } from '../testing/rig.js';
import { at, listenUnix, socketPath } from '../testing/sockets.js';
import { until } from '../testing/wait.js';

const { O_RDONLY, O_WRONLY, O_NONBLOCK } = fs.constants;
const onLinux = { skip: process.platform !== 'linux' };
const INDEX = fileURLToPath(new URL('../index.js', import.meta.url));

// The shell keeps the bytes, which the environment of a child of Node cannot have.
const START = `
  d=$1/$(printf '\\374ber')
  mkdir "$d"
  mkfifo -m 600 "$d/in" "$d/out"
  export IPC_CHANNEL_IN="$d/in" IPC_CHANNEL_OUT="$d/out"
  exec "$2" --input-type=module --eval "$3"
`;
const ECHO = `
  for await (const message of channel) await channel.write(message);
  await channel.close();
`;
const CONNECTS = {
  connectFromEnv: `
    import { connectFromEnv } from '${INDEX}';
    const channel = await connectFromEnv();
  `,
  'connect with what process.env shows': `
    import { connect } from '${INDEX}';
    const { IPC_CHANNEL_IN: inPath, IPC_CHANNEL_OUT: outPath } = process.env;
    const channel = await connect({ inPath, outPath });
  `,
};

/**
 * Opens an end of a pipe as soon as that is possible.
 *
 * @param {Buffer} pipe
 * @param {number} access
 */
async function open(pipe, access) {
  let fd = -1;
  const tryToOpen = () => {
    try {
      fd = fs.openSync(pipe, access | O_NONBLOCK);
    } catch {
      return false;
    }
    return true;
  };
  await until(tryToOpen, 'a pipe');
  return fd;
}

describe('a path that is not UTF-8', () => {
  for (const [name, code] of Object.entries(CONNECTS)) {
    // Covers RDV-7, RDV-36.
    it(`is met by ${name}`, onLinux, async (t) => {
      const directory = path.dirname(makePipes(t).inPath);
      const child = spawn('sh', ['-c', START, 'sh', directory, process.execPath, code + ECHO], {
        stdio: ['ignore', 'inherit', 'inherit'],
      });
      const ended = once(child, 'close');
      t.after(() => child.kill('SIGKILL'));
      const at = (/** @type {string} */ end) =>
        Buffer.from(`${directory}/\xfcber/${end}`, 'latin1');
      const reader = await open(at('out'), O_RDONLY);
      const writer = await open(at('in'), O_WRONLY);
      const sent = Buffer.concat([frame('hello'), Buffer.alloc(4)]);
      fs.writeSync(writer, sent);
      assert.deepEqual(await ended, [0, null]);
      const got = Buffer.alloc(100);
      assert.deepEqual(got.subarray(0, fs.readSync(reader, got)), sent);
      fs.closeSync(reader);
      fs.closeSync(writer);
    });
  }

  // Covers RDV-36.
  it('is refused at once where its bytes are lost', async (t) => {
    const { inPath, outPath } = makePipes(t);
    for (const lost of ['\ufffd', '\ud800', '\udcfc', 'x\udc80y']) {
      for (const paths of [
        { inPath: inPath + lost, outPath },
        { inPath, outPath: outPath + lost },
      ]) {
        await assert.rejects(connect({ ...paths, timeout: Infinity }), { code: 'bad-rendezvous' });
      }
    }
  });

  // Covers RDV-36.
  it('is not taken for one with U+FFFD in its name that exists', async (t) => {
    const { inPath, outPath } = makePipes(t);
    fs.renameSync(inPath, `${inPath}\ufffd`);
    const paths = { inPath: `${inPath}\ufffd`, outPath };
    await assert.rejects(connect({ ...paths, timeout: 10 }), { code: 'timeout' });
  });

  // Covers RDV-36.
  it('is told from others', () => {
    assert.equal(exactPath('/über\u{1f600}'), '/über\u{1f600}');
    assert.equal(exactPath('/\ufffd'), '/\ufffd');
    assert.ok(isLossy('/\ufffd'));
    assert.ok(!isLossy('/über'));
    assert.ok(!isLossy(Buffer.from('/\ufffd')));
  });
});

describe('a path of a Unix socket that is not UTF-8', {
  skip: process.platform === 'win32',
}, () => {
  // Covers RDV-36.
  it('is met on Linux', onLinux, async (t) => {
    const { server, file } = await listenUnix(t);
    fs.renameSync(file, Buffer.from(`${file}\xfc`, 'latin1'));
    // What Node takes the name for, when it decodes the environment.
    const other = await listenUnix(t, `${file}\ufffd`);
    other.server.on('connection', () => assert.fail('it connected to another path'));
    server.on('connection', (socket) => socket.end(frame('from the right server')));
    const start = `
      IPC_CHANNEL_IN="unix:$1$(printf '\\374')"
      IPC_CHANNEL_OUT="$IPC_CHANNEL_IN"
      export IPC_CHANNEL_IN IPC_CHANNEL_OUT
      exec "$2" --input-type=module --eval "$3"
    `;
    const code = `
      import { connectFromEnv } from '${INDEX}';
      const channel = await connectFromEnv();
      console.log(String(await channel.read()));
      await channel.close();
    `;
    const child = spawn('sh', ['-c', start, 'sh', file, process.execPath, code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    const [said] = await once(child.stdout, 'data');
    assert.equal(String(said), 'from the right server\n');
  });

  // Covers RDV-36.
  it('is refused at once where its bytes are lost', async (t) => {
    const file = socketPath(t);
    for (const lost of ['\ufffd', '\ud800', 'x\udc80y']) {
      const refused = { code: 'bad-rendezvous' };
      await assert.rejects(connect({ ...at(file + lost), timeout: Infinity }), refused);
    }
  });

  // Covers RDV-36.
  it(
    'is not taken for one that the environment gives with U+FFFD in its name',
    onLinux,
    async (t) => {
      const { inPath } = at(`${socketPath(t)}\ufffd`);
      const code = `
      import { connectFromEnv } from '${INDEX}';
      await connectFromEnv({ timeout: 0 }).catch((error) => console.log(error.code));
    `;
      const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', code], {
        env: { IPC_CHANNEL_IN: inPath, IPC_CHANNEL_OUT: inPath },
        encoding: 'utf8',
      });
      assert.equal(stdout, 'timeout\n');
    },
  );

  // Covers RDV-36.
  it('is not taken for one with U+FFFD in its name that exists', async (t) => {
    const { server, file } = await listenUnix(t, `${socketPath(t)}\ufffd`);
    server.on('connection', (socket) => socket.end(frame('here')));
    const channel = await connect(at(file));
    assert.equal(String(await channel.read()), 'here');
    await channel.close();
  });
});
