import { asSecretError, type SecretError } from "../formats/errors.ts";
import { Lane } from "./lane.ts";
import { Scout } from "./scout.ts";

/** `change`: somebody waits for it. `resync`: start-up, periodic checks and all retries. */
export type Priority = "change" | "resync";

/** What a handler may ask for. */
export interface Outcome {
  /** Run the key again after this, if nothing happens to it before. */
  requeueAfterMs?: number | undefined;
}

/** What a handler is told besides its key. */
export interface Run {
  /** 1 for the first attempt since the last success. */
  attempt: number;
  priority: Priority;
  /** Aborts when the queue stops and its grace has passed. */
  signal: AbortSignal;
}

/** Delays of a {@link Queue}. */
export interface QueueTiming {
  /** Back-off after the first failure; doubles with each one. */
  minBackoffMs: number;
  maxBackoffMs: number;
  /** For failures that only a change can cure. */
  permanentRetryMs: number;
  /** At most this long is a change of a failing key held back, so that a storm of changes can't undo the back-off. */
  maxChangeDelayMs: number;
  /** While keys fail for passing reasons, one of them is tried this often, to notice when the reason has passed. */
  scoutMs: number;
}

/** Time and chance, replaced in tests. */
export interface QueueClock {
  /** Monotonic, in ms. */
  now: () => number;
  /** Calls back after `ms`; the result cancels. */
  after: (ms: number, callback: () => void) => () => void;
  /** In [0, 1). */
  random: () => number;
}

/** How to build a {@link Queue}; the hooks must not throw. */
export interface QueueOptions {
  workers: number;
  handle: (key: string, run: Run) => Promise<Outcome | undefined>;
  /** A failure, and when the key runs again. */
  onFailure?:
    ((key: string, failure: { error: SecretError; attempt: number; retryInMs: number }) => void) | undefined;
  /** A key's wait from the moment it was due to its run, for metrics. */
  onStart?: ((key: string, start: { priority: Priority; waitedMs: number }) => void) | undefined;
  /** The end of a run, well or not, for metrics. */
  onDone?: ((key: string, done: { tookMs: number; ok: boolean }) => void) | undefined;
  timing?: Partial<QueueTiming> | undefined;
  clock?: QueueClock | undefined;
}

const defaultTiming: QueueTiming = {
  minBackoffMs: 1_000,
  maxBackoffMs: 5 * 60_000,
  permanentRetryMs: 30 * 60_000,
  maxChangeDelayMs: 5_000,
  scoutMs: 10_000,
};
const systemClock: QueueClock = {
  now: () => performance.now(),
  after: (ms, callback) => {
    // Node fires a longer timer at once.
    const timer = setTimeout(callback, Math.min(ms, 2 ** 31 - 1));
    return () => clearTimeout(timer);
  },
  random: Math.random,
};
/** So many changes may overtake a waiting resync, then it has its turn. */
const overtakes = 8;

/** All that is known of a key that is queued, running, waiting or failing; there is no entry for any other. */
interface Entry {
  queued: Priority | undefined;
  dueAt: number;
  running: boolean;
  /** Added while it ran: it runs once more. */
  again: Priority | undefined;
  /** Forgotten while it ran: a failure of this run isn't retried. */
  forgotten: boolean;
  failures: number;
  failedAt: number;
  /** Until then the other side has asked to be left alone with retries. */
  retryNotBefore: number;
  cancelTimer: (() => void) | undefined;
}

/**
 * Keys that wait for a worker, each at most once, and never with two workers at a time. A failing key is retried for ever,
 * ever less often, and behind everything that is new; when a fault that many share has ended, all of them follow the first
 * that noticed.
 */
export class Queue {
  readonly #options: QueueOptions;
  readonly #timing: QueueTiming;
  readonly #clock: QueueClock;
  readonly #scout: Scout;
  readonly #entries = new Map<string, Entry>();
  readonly #lanes = { change: new Lane(), resync: new Lane() };
  readonly #abort = new AbortController();
  #state: "waiting" | "started" | "stopped" = "waiting";
  #running = 0;
  #overtaken = 0;
  #idle: (() => void)[] = [];

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.#clock = options.clock ?? systemClock;
    this.#scout = new Scout({
      everyMs: this.#timing.scoutMs,
      after: this.#clock.after,
      send: (key) => this.#retryNow(key),
    });
  }

  /** Keys that could run now if a worker were free. */
  get length(): number {
    return this.#lanes.change.size + this.#lanes.resync.size;
  }

  /** Keys in workers' hands. */
  get running(): number {
    return this.#running;
  }

  /** Keys whose last run failed. */
  get failing(): number {
    let count = 0;
    for (const entry of this.#entries.values()) if (entry.failures > 0) count++;
    return count;
  }

  /** Starts the workers; keys may be added before. */
  start(): void {
    if (this.#state === "waiting") this.#state = "started";
    this.#pump();
  }

  /**
   * Asks for a run of the key. A change comes before every resync, also if the key was queued as one; of a failing key it
   * comes after a pause that grows to 5 s. A resync of a failing key changes nothing: its retry is already set.
   */
  add(key: string, options: { priority?: Priority } = {}): void {
    if (this.#state === "stopped") return;
    const { priority = "change" } = options;
    const entry = this.#entries.get(key) ?? this.#create(key);
    if (entry.running) {
      entry.again = entry.again === "change" ? "change" : priority;
      entry.forgotten = false;
      return;
    }
    if (entry.failures > 0) {
      if (priority === "change") this.#hurry(key, entry, priority);
      return;
    }
    this.#enqueue(key, entry, priority);
  }

  /** Drops the key, its failures and its retries. A run under way ends, and isn't followed by another. */
  forget(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#unschedule(key, entry);
    this.#scout.forget(key);
    entry.failures = 0;
    entry.again = undefined;
    if (entry.running) entry.forgotten = true;
    else this.#entries.delete(key);
    this.#tellIdle();
  }

  /** Resolves when nothing is queued or running; retries and requeues that wait for their time don't count. */
  async idle(): Promise<void> {
    if (this.length + this.#running === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Starts no more runs and waits for those under way. False if some had to be aborted after `graceMs`. */
  async stop(graceMs: number): Promise<boolean> {
    this.#state = "stopped";
    this.#scout.stop();
    for (const [key, entry] of this.#entries) this.#unschedule(key, entry);
    this.#tellIdle();
    const { promise: late, resolve } = Promise.withResolvers<false>();
    const cancel = this.#clock.after(graceMs, () => resolve(false));
    const drained = await Promise.race([this.idle().then(() => true), late]);
    cancel();
    this.#abort.abort();
    return drained;
  }

  #create(key: string): Entry {
    const entry: Entry = {
      queued: undefined,
      dueAt: 0,
      running: false,
      again: undefined,
      forgotten: false,
      failures: 0,
      failedAt: 0,
      retryNotBefore: 0,
      cancelTimer: undefined,
    };
    this.#entries.set(key, entry);
    return entry;
  }

  #enqueue(key: string, entry: Entry, priority: Priority): void {
    if (entry.queued === priority || entry.queued === "change") return;
    const dueAt = entry.queued === undefined ? this.#clock.now() : entry.dueAt;
    this.#unschedule(key, entry);
    entry.queued = priority;
    entry.dueAt = dueAt;
    this.#lanes[priority].add(key);
    this.#pump();
  }

  #unschedule(key: string, entry: Entry): void {
    entry.cancelTimer?.();
    entry.cancelTimer = undefined;
    if (entry.queued !== undefined) this.#lanes[entry.queued].delete(key);
    entry.queued = undefined;
  }

  /** A failing key whose object or surroundings changed may be cured: it need not wait for its retry. */
  #hurry(key: string, entry: Entry, priority: Priority): void {
    const pauseMs = Math.min(this.#backoffMs(entry.failures), this.#timing.maxChangeDelayMs);
    const waitMs = Math.max(entry.failedAt + pauseMs, entry.retryNotBefore) - this.#clock.now();
    if (waitMs <= 0) this.#enqueue(key, entry, priority);
    else if (entry.queued === undefined) this.#schedule(key, { entry, ms: waitMs, priority });
  }

  /** Runs a failing key without waiting for its retry. False where it is queued or running, or must wait. */
  #retryNow(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.running || entry.queued !== undefined) return false;
    if (entry.retryNotBefore > this.#clock.now()) return false;
    this.#enqueue(key, entry, "resync");
    return true;
  }

  /** What a failing key waited for may have come about. */
  #rouse(key: string): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.failures > 0 && !entry.running) this.#hurry(key, entry, "resync");
  }

  #schedule(key: string, plan: { entry: Entry; ms: number; priority: Priority }): void {
    const { entry, ms, priority } = plan;
    this.#unschedule(key, entry);
    if (this.#state === "stopped") return;
    entry.cancelTimer = this.#clock.after(ms, () => {
      entry.cancelTimer = undefined;
      this.#enqueue(key, entry, priority);
    });
  }

  #pump(): void {
    while (this.#state === "started" && this.#running < this.#options.workers) {
      const key = this.#next();
      if (key === undefined) return;
      void this.#run(key);
    }
  }

  #next(): string | undefined {
    const { change, resync } = this.#lanes;
    const turn = resync.size > 0 && (change.size === 0 || this.#overtaken >= overtakes);
    this.#overtaken = turn || resync.size === 0 ? 0 : this.#overtaken + 1;
    return (turn ? resync : change).take();
  }

  async #run(key: string): Promise<void> {
    const entry = this.#entries.get(key) ?? this.#create(key);
    const startedAt = this.#clock.now();
    const priority = entry.queued ?? "change";
    entry.queued = undefined;
    entry.running = true;
    this.#running++;
    let error: SecretError | undefined;
    let outcome: Outcome | undefined;
    try {
      this.#options.onStart?.(key, { priority, waitedMs: startedAt - entry.dueAt });
      const run: Run = { attempt: entry.failures + 1, priority, signal: this.#abort.signal };
      outcome = await this.#options.handle(key, run);
    } catch (thrown) {
      error = asSecretError(thrown);
    }
    entry.running = false;
    this.#running--;
    this.#options.onDone?.(key, { tookMs: this.#clock.now() - startedAt, ok: error === undefined });
    this.#settle(key, entry, error ?? outcome ?? {});
    this.#pump();
    this.#tellIdle();
  }

  /** What comes after a run: again at once, later, or nothing. */
  #settle(key: string, entry: Entry, result: SecretError | Outcome): void {
    const { again, forgotten } = entry;
    entry.again = undefined;
    entry.forgotten = false;
    if (this.#state === "stopped" || (forgotten && again === undefined)) {
      this.#entries.delete(key);
    } else if (result instanceof Error) {
      this.#failed(key, entry, result);
      if (again === "change") this.#hurry(key, entry, again);
    } else {
      entry.failures = 0;
      for (const other of this.#scout.succeeded(key)) this.#rouse(other);
      if (again !== undefined) this.#enqueue(key, entry, again);
      else if (result.requeueAfterMs === undefined) this.#entries.delete(key);
      else this.#schedule(key, { entry, ms: result.requeueAfterMs, priority: "resync" });
    }
  }

  #failed(key: string, entry: Entry, error: SecretError): void {
    entry.failures++;
    entry.failedAt = this.#clock.now();
    entry.retryNotBefore = entry.failedAt + (error.retryAfterMs ?? 0);
    const { permanentRetryMs } = this.#timing;
    const plainMs = error.retry === "never" ? permanentRetryMs : this.#backoffMs(entry.failures);
    const retryInMs = Math.max(plainMs * (0.8 + 0.4 * this.#clock.random()), error.retryAfterMs ?? 0);
    this.#schedule(key, { entry, ms: retryInMs, priority: "resync" });
    this.#scout.failed(key, error);
    this.#options.onFailure?.(key, { error, attempt: entry.failures, retryInMs });
  }

  #backoffMs(failures: number): number {
    const { minBackoffMs, maxBackoffMs } = this.#timing;
    return Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.min(30, failures - 1));
  }

  #tellIdle(): void {
    if (this.length + this.#running > 0) return;
    const waiting = this.#idle;
    this.#idle = [];
    for (const resolve of waiting) resolve();
  }
}
