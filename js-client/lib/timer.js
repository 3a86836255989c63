export const LONGEST_TIMER = 2 ** 31 - 1;

/** @typedef {{over: Promise<void>, isOver: boolean, restart: () => void, cancel: () => void}} Timer */

/**
 * A timer as a promise. A time that is too long for Node's timers is never over.
 *
 * @param {number} milliseconds
 * @returns {Timer}
 */
export function startTimer(milliseconds) {
  /** @type {NodeJS.Timeout | undefined} */
  let handle;
  const timer = {
    isOver: false,
    restart: () => handle?.refresh(),
    cancel: () => clearTimeout(handle),
  };
  /** @type {Promise<void>} */
  const over = new Promise((resolve) => {
    if (milliseconds > LONGEST_TIMER) return;
    handle = setTimeout(() => {
      timer.isOver = true;
      resolve();
    }, milliseconds);
  });
  return Object.assign(timer, { over });
}
