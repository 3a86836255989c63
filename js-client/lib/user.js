import fs from 'node:fs';

const ROOT = 0;
const ALL_USERS = 2 ** 32 - 1; // every id but the last, which means "no user"
const ADVICE = 'run as the same user as the server';

/** @type {number | undefined} the id that the kernel shows for unmapped users */
let overflow;

/**
 * Why a file of `owner` is not certainly ours; null if it is (RDV-21, RDV-38), and if the system has no user
 * ids.
 *
 * @param {bigint} owner
 * @returns {string | null}
 */
export function whyNotOurs(owner) {
  const user = process.geteuid?.();
  if (user === undefined) return null;
  if (owner !== BigInt(user)) {
    return `belongs to user ${owner}, not to user ${user}: ${ADVICE}`;
  }
  return whyAmbiguous(user);
}

/**
 * Says why a server that belongs to `owner` is not trusted. Null if it is, and where the system has no user
 * ids. A client trusts its own user, root and the users that the application names (RDV-65).
 *
 * @param {bigint} owner
 * @param {readonly number[]} allowedUsers
 * @returns {string | null}
 */
export function whyNotTrusted(owner, allowedUsers) {
  const user = process.geteuid?.();
  if (user === undefined) return null;
  const trusted = [user, ROOT, ...allowedUsers];
  if (trusted.some((each) => BigInt(each) === owner)) return whyAmbiguous(Number(owner));
  const hint = 'if you trust that user, add it to allowedUsers';
  return `belongs to user ${owner}, not to user ${user} or root: ${hint}`;
}

/**
 * @param {number} owner
 * @returns {string | null}
 */
function whyAmbiguous(owner) {
  if (!isAmbiguous(owner)) return null;
  return (
    `belongs to user ${owner}, which here stands for every user that this user namespace does ` +
    'not map; run as a user that it maps'
  );
}

/**
 * Whether `user` may stand for a user that our namespace does not map. The kernel shows all of those with
 * the same id, which may also be the id of a user of the namespace.
 *
 * @param {number} user
 */
function isAmbiguous(user) {
  // Read once: every try asks for it, and reading takes a descriptor.
  overflow ??= Number(read('/proc/sys/kernel/overflowuid') ?? 65534);
  return user === overflow && !mapsAllUsers();
}

/** Whether the namespace maps every user. The first namespace does; so do systems without namespaces. */
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
