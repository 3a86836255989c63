import fs from 'node:fs';

const ALL_USERS = 2 ** 32 - 1; // all ids but the one that is none

/** @type {number | undefined} the number that stands for unmapped users */
let overflow;

/**
 * Says why something that belongs to `owner` is not ours; null if it is (RDV-21, RDV-38), and where
 * the system has no user ids.
 *
 * @param {bigint} owner
 * @returns {string | null}
 */
export function whyNotOurs(owner) {
  const user = process.geteuid?.();
  if (user === undefined) return null;
  if (owner !== BigInt(user)) return `belongs to user ${owner}, not to ${user}`;
  if (!isAmbiguous(user)) return null;
  return (
    `belongs to user ${owner}, which here stands for every user that this user namespace does ` +
    'not map; run as a user that it maps'
  );
}

/**
 * Whether `user` may stand for any user that our namespace does not map: the kernel shows all of
 * them with one number, which may be that of a user of the namespace as well.
 *
 * @param {number} user
 */
function isAmbiguous(user) {
  // Once, as this is asked at every look for a server, and needs a descriptor.
  overflow ??= Number(read('/proc/sys/kernel/overflowuid') ?? 65534);
  return user === overflow && !mapsAllUsers();
}

/** Whether nobody is unmapped, as in the first namespace and on systems that have none. */
function mapsAllUsers() {
  const map = read('/proc/self/uid_map');
  if (map === null) return true;
  let mapped = 0;
  for (const line of map.split('\n')) mapped += Number(line.trim().split(/\s+/)[2] ?? 0);
  return mapped >= ALL_USERS;
}

/**
 * @param {string} path
 * @returns {string | null}
 */
function read(path) {
  try {
    return fs.readFileSync(path, 'ascii');
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return null;
    throw error;
  }
}
