import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startFile } from '../testing/process.js';
import { framed } from '../testing/requests.js';
import { CLOSE_FRAME, frame, listen, Peer } from '../testing/rig.js';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));

/** @param {string} language */
function snippet(language) {
  const text = fs.readFileSync(path.join(PACKAGE, 'README.md'), 'utf8');
  const blocks = [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))];
  assert.equal(blocks.length, 1, `blocks in ${language}`);
  return blocks[0][1];
}

/**
 * A new project that has installed this package, as the README says.
 *
 * @param {import('node:test').TestContext} t
 */
function install(t) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'ipc-channel-test-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  fs.writeFileSync(path.join(directory, 'package.json'), '{"private": true}');
  // The npm that runs these tests: another one on the PATH may not even start.
  const npm = process.env.npm_execpath;
  const command = snippet('sh')
    .replace('/path/to/clone/js-client', `'${PACKAGE}'`)
    .replace(/^npm /m, npm ? `'${process.execPath}' '${npm}' ` : 'npm ');
  execFileSync('sh', ['-c', `${command.trim()} --offline --no-audit --no-fund`], {
    cwd: directory,
    stdio: 'pipe',
  });
  return directory;
}

for (const [name, language, sent, answered] of /** @type {const} */ ([
  ['echo', 'js', frame('hello'), frame('hello')],
  ['digest', 'mjs', framed('request', 1, 'abc'), framed('answer', 1, sha256('abc'))],
])) {
  // Beyond the specification: what the README says works.
  it(`the README installs the package, and its ${name} runs`, async (t) => {
    const file = path.join(install(t), `${name}.mjs`);
    fs.writeFileSync(file, snippet(language));
    const { server, address } = await listen(t);
    const accepted = once(server, 'connection');
    const { ended } = startFile(t, file, { inPath: address, outPath: address });
    const [socket] = await accepted;
    const peer = new Peer(socket, socket);
    t.after(() => peer.destroy());
    await peer.send(sent);
    assert.deepEqual(await peer.read(answered.length), answered);
    await peer.send(CLOSE_FRAME);
    assert.deepEqual(await peer.readAll(), CLOSE_FRAME);
    await peer.destroy();
    const { code, errors } = await ended;
    assert.deepEqual([code, errors], [0, '']);
  });
}

/** @param {string} text */
function sha256(text) {
  return createHash('sha256').update(text).digest('hex');
}
