const LONGEST_TIMER = 2 ** 31 - 1;

/** @typedef {{over: Promise<void>, restart: () => void, cancel: () => void}} Timer */

/**
 * A timer as a promise; one that is longer than Node's timers can be is never over.
 *
 * @param {number} milliseconds
 * @returns {Timer}
 */
export function startTimer(milliseconds) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  /** @type {Promise<void>} */
  const over = new Promise((resolve) => {
    if (milliseconds <= LONGEST_TIMER) timer = setTimeout(resolve, milliseconds);
  });
  return { over, restart: () => timer?.refresh(), cancel: () => clearTimeout(timer) };
}
