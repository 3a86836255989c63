/**
 * The name that was probably meant by a misspelled one, or null if none is near.
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
 * From 0 for the same to 1; a beginning, such as "out" of "outPath", is near.
 *
 * @param {string} name
 * @param {string} known
 */
function difference(name, known) {
  if (name.length > 1 && known.startsWith(name)) return 0;
  return distance(name, known) / Math.max(name.length, known.length);
}

/**
 * Without what differs from language to language: max_message_size and MaxMessageSize are one name.
 *
 * @param {string} name
 */
function simplified(name) {
  return name.slice(0, 50).toLowerCase().replaceAll(/[_-]/g, '');
}

/**
 * How many letters must be put in, taken out or replaced to make one name of the other (Levenshtein).
 *
 * @param {string} one
 * @param {string} other
 */
function distance(one, other) {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 0; i < one.length; i += 1) {
    const next = [i + 1];
    for (let j = 0; j < other.length; j += 1) {
      const replaced = row[j] + (one[i] === other[j] ? 0 : 1);
      next.push(Math.min(replaced, row[j + 1] + 1, next[j] + 1));
    }
    row = next;
  }
  return row[other.length];
}
