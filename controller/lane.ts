/** First in, first out, with removal from the middle, all in constant time. */
export class Lane {
  readonly #keys = new Set<string>();
  /** A live iterator goes on where it was, where a new one would walk over everything taken before. */
  #iterator: Iterator<string> | undefined;

  /** How many keys wait. */
  get size(): number {
    return this.#keys.size;
  }

  /** At the end, unless it is in already. */
  add(key: string): void {
    this.#keys.add(key);
  }

  delete(key: string): void {
    this.#keys.delete(key);
  }

  /** Removes and gives the first. */
  take(): string | undefined {
    if (this.#keys.size === 0) return undefined;
    this.#iterator ??= this.#keys.values();
    const next = this.#iterator.next();
    if (next.done === true) {
      this.#iterator = undefined;
      return this.take();
    }
    this.#keys.delete(next.value);
    return next.value;
  }
}
