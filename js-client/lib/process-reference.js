/**
 * Keeps the process alive while a read waits, a write is being sent or a close waits, but not for a channel
 * that is merely open.
 */
export class ProcessReference {
  #isWanted;
  #setReferenced;
  #referenced = true;
  #releasesSoon = false;

  /**
   * @param {() => boolean} isWanted
   * @param {(wanted: boolean) => void} setReferenced
   */
  constructor(isWanted, setReferenced) {
    this.#isWanted = isWanted;
    this.#setReferenced = setReferenced;
  }

  /** Finds out whether to keep the process alive from now on. */
  update() {
    if (this.#isWanted()) this.#set(true);
    else if (this.#referenced && !this.#releasesSoon) this.#releaseSoon();
  }

  /** Not at once: in a loop over messages the next read comes in the same turn of the event loop. */
  #releaseSoon() {
    this.#releasesSoon = true;
    setImmediate(() => {
      this.#releasesSoon = false;
      this.#set(this.#isWanted());
    });
  }

  /** @param {boolean} wanted */
  #set(wanted) {
    if (wanted === this.#referenced) return;
    this.#referenced = wanted;
    this.#setReferenced(wanted);
  }
}
