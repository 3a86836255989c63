import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, it } from 'node:test';

const { packages } = JSON.parse(
  fs.readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'),
);

/** @param {string} name */
const isLocked = (name) => `node_modules/${name}` in packages;

describe('the lock file', () => {
  // npm leaves out what it cannot install on the machine that writes the file, and "npm ci" then
  // refuses it on every machine.
  // Beyond the specification: npm ci works on every system.
  it('has what every locked package asks for, whatever system it is for', () => {
    for (const [where, { dependencies, devDependencies, optionalDependencies }] of Object.entries(
      packages,
    )) {
      const wanted = { ...dependencies, ...devDependencies, ...optionalDependencies };
      assert.deepEqual(
        Object.keys(wanted).filter((name) => !isLocked(name)),
        [],
        `missing for "${where}"`,
      );
    }
  });

  // Beyond the specification: the lock file is up to date.
  it('agrees with package.json', () => {
    const { version, engines, devDependencies, peerDependencies } = JSON.parse(
      fs.readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
    );
    const own = packages[''];
    assert.deepEqual(
      [own.version, own.engines, own.devDependencies, own.peerDependencies],
      [version, engines, devDependencies, peerDependencies],
    );
  });
});
