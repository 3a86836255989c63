/**
 * The known name that a misspelled name probably means, or null if none is near.
 *
 * @param {string} name
 * @param {string[]} known
 * @returns {string | null}
 */
export function nearest(name, known) {
  const differences = known.map((each) => difference(simplified(name), simplified(each)));
  const least = Math.min(...differences);
  return least <= 0.5 ? known[differences.indexOf(least)] : null;
}

/**
 * From 0, the same, to 1. A prefix, such as "out" of "outPath", counts as 0.
 *
 * @param {string} name
 * @param {string} known
 */
function difference(name, known) {
  if (name.length > 1 && known.startsWith(name)) return 0;
  return distance(name, known) / Math.max(name.length, known.length);
}

/**
 * Removes what differs from language to language: max_message_size and MaxMessageSize are the same name.
 *
 * @param {string} name
 */
function simplified(name) {
  return name.slice(0, 50).toLowerCase().replaceAll(/[_-]/g, '');
}

/**
 * The Levenshtein distance: how many letters to insert, delete or replace.
 *
 * @param {string} name
 * @param {string} other
 */
function distance(name, other) {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 0; i < name.length; i += 1) {
    const next = [i + 1];
    for (let j = 0; j < other.length; j += 1) {
      const replaced = row[j] + (name[i] === other[j] ? 0 : 1);
      next.push(Math.min(replaced, row[j + 1] + 1, next[j] + 1));
    }
    row = next;
  }
  return row[other.length];
}
