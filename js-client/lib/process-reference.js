/**
 * Keeps the process alive for a read that waits, for bytes on their way out and for a close, but not for
 * a channel that is merely open.
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

  /** Looks whether the process is still to be kept alive. */
  update() {
    if (this.#isWanted()) this.#set(true);
    else if (this.#referenced && !this.#releasesSoon) this.#releaseSoon();
  }

  /** Not at once: in a loop over messages the next read comes in this very turn. */
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
