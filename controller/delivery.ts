/** What happened to one object, seen from the consumer: `old` is what it last took, `new` what holds now. */
export interface Change<Kept> {
  type: "added" | "modified" | "deleted";
  key: string;
  old?: Kept;
  new?: Kept;
}

/** Where changes go, and what becomes of those that the consumer throws at. */
export interface DeliveryOptions<Kept> {
  /** Synchronous and quick: it usually puts the key into a queue. What it throws concerns this object only. */
  onChange: (change: Change<Kept>) => void;
  /** Told of each throw; the object is handed over again later. */
  onHandlerError?: ((key: string, thrown: unknown) => void) | undefined;
  /** Delay before the second delivery; doubles up to 64 times as much. */
  redeliverMs: number;
}

interface Undelivered<Kept> {
  known: Kept | undefined;
  now: Kept | undefined;
  attempts: number;
  timer: NodeJS.Timeout;
}

/** Hands changes to a consumer, and again where it threw, merged with whatever has happened to the object since. */
export class Delivery<Kept> {
  readonly #options: DeliveryOptions<Kept>;
  readonly #undelivered = new Map<string, Undelivered<Kept>>();

  constructor(options: DeliveryOptions<Kept>) {
    this.#options = options;
  }

  /** How many objects wait to be handed over again. */
  get undelivered(): number {
    return this.#undelivered.size;
  }

  /** Hands over the step from `old` to `now`; never throws. */
  hand(key: string, old: Kept | undefined, now: Kept | undefined): void {
    const before = this.#undelivered.get(key);
    clearTimeout(before?.timer);
    this.#undelivered.delete(key);
    const known = before === undefined ? old : before.known;
    const change = changeOf(key, known, now);
    if (change === undefined) return;
    try {
      this.#options.onChange(change);
    } catch (thrown) {
      this.#again(key, { known, now, attempts: (before?.attempts ?? 0) + 1 });
      this.#options.onHandlerError?.(key, thrown);
    }
  }

  /** Forgets what is undelivered. */
  stop(): void {
    for (const { timer } of this.#undelivered.values()) clearTimeout(timer);
    this.#undelivered.clear();
  }

  #again(key: string, failed: Omit<Undelivered<Kept>, "timer">): void {
    const delayMs = this.#options.redeliverMs * 2 ** Math.min(6, failed.attempts - 1);
    const timer = setTimeout(() => this.hand(key, failed.known, failed.now), delayMs);
    timer.unref();
    this.#undelivered.set(key, { ...failed, timer });
  }
}

function changeOf<Kept>(key: string, old: Kept | undefined, now: Kept | undefined): Change<Kept> | undefined {
  if (old === undefined) return now === undefined ? undefined : { type: "added", key, new: now };
  return now === undefined ? { type: "deleted", key, old } : { type: "modified", key, old, new: now };
}
