/** Whether a request may go on, and what its sender is told. */
export interface Verdict {
  isAllowed: boolean;
  /** `X-Ratelimit-*`, and `Retry-After` on a refusal; whole seconds, rounded up. */
  headers: Record<string, string>;
}

/** What a {@link RateLimiter} is told. */
export interface RateLimiterOptions {
  /** Requests a second in the long run, positive. */
  rate: number;
  /** Requests beyond the rate that may come at once. */
  burst: number;
  /** Senders remembered at most; those beyond share one allowance. */
  maxSenders?: number;
  /** Monotonic clock in ms. */
  now?: () => number;
}

/** The sender whose allowance is shared when too many are known: no address is empty. */
const others = "";

/**
 * Admits `rate` requests a second and `burst + 1` at once for each sender (GCRA). Memory is bounded, and filling it gains
 * nothing: a sender is forgotten only when its allowance is whole again.
 */
export class RateLimiter {
  readonly #intervalMs: number;
  readonly #limit: number;
  readonly #maxSenders: number;
  readonly #now: () => number;
  /** When a sender's allowance is whole again. */
  readonly #wholeAt = new Map<string, number>();
  #sweptAt = -Infinity;

  constructor({ rate, burst, maxSenders = 10_000, now = () => performance.now() }: RateLimiterOptions) {
    this.#intervalMs = 1000 / rate;
    this.#limit = burst + 1;
    this.#maxSenders = maxSenders;
    this.#now = now;
  }

  /** Senders remembered now. */
  get size(): number {
    return this.#wholeAt.size;
  }

  /** Takes one request of a sender into account. */
  admit(sender: string): Verdict {
    const now = this.#now();
    const key = this.#keyOf(sender, now);
    const before = Math.max(this.#wholeAt.get(key) ?? now, now);
    const after = before + this.#intervalMs;
    const waitMs = after - this.#limit * this.#intervalMs - now;
    // Rounding of the clock must not cost a sender its last request.
    const isAllowed = waitMs <= 1e-6;
    if (isAllowed) this.#wholeAt.set(key, after);
    const usedMs = (isAllowed ? after : before) - now;
    const remaining = Math.floor(this.#limit - usedMs / this.#intervalMs + 1e-6);
    const headers = {
      "X-Ratelimit-Limit": String(this.#limit),
      "X-Ratelimit-Remaining": String(Math.max(0, remaining)),
      "X-Ratelimit-Reset": String(Math.ceil(usedMs / 1000)),
    };
    if (isAllowed) return { isAllowed, headers };
    return { isAllowed, headers: { ...headers, "Retry-After": String(Math.ceil(waitMs / 1000)) } };
  }

  #keyOf(sender: string, now: number): string {
    if (this.#wholeAt.has(sender) || this.#wholeAt.size < this.#maxSenders) return sender;
    const recoveryMs = this.#limit * this.#intervalMs;
    // A sweep finds something only once an allowance had the time to recover.
    if (now - this.#sweptAt >= Math.min(recoveryMs, 1000)) this.#sweep(now);
    return this.#wholeAt.size < this.#maxSenders ? sender : others;
  }

  #sweep(now: number): void {
    this.#sweptAt = now;
    for (const [sender, wholeAt] of this.#wholeAt) if (wholeAt <= now) this.#wholeAt.delete(sender);
  }
}
