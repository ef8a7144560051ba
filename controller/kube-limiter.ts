/** Token bucket in front of all calls: `qps` a second on average, `burst` at once. First come, first served. */
export class Limiter {
  readonly #qps: number;
  readonly #burst: number;
  readonly #now: () => number;
  /** When the bucket is full again, in ms of the monotonic clock; a bucket as one number. */
  #fullAt = 0;

  /** `qps` must be positive. */
  constructor(qps: number, burst: number, now: () => number = () => performance.now()) {
    this.#qps = qps;
    this.#burst = Math.max(1, burst);
    this.#now = now;
  }

  /** Takes a token that may be due only later, and says in how many ms. */
  reserve(): number {
    const now = this.#now();
    this.#fullAt = Math.max(this.#fullAt, now) + 1000 / this.#qps;
    return Math.max(0, this.#fullAt - now - (this.#burst * 1000) / this.#qps);
  }
}
