import { asSecretError } from "../formats/errors.ts";
import type { Kube, KubeObject, Resource } from "./kube-api.ts";
import { claimableAt, claimed, released, sight, type Sighting } from "./lease.ts";
import type { Log } from "./log.ts";

/** coordination.k8s.io/v1 Lease. */
export const leases: Resource = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  kind: "Lease",
  namespaced: true,
};

/** A time of leadership. Work that belongs to it is given it, so that nothing outlives it into the next one. */
export interface Term {
  /** Aborts when the term has ended. */
  readonly signal: AbortSignal;
  /** Whether leadership is certain at this moment; does not wait for a timer, so it is right after a freeze, too. */
  holds(): boolean;
}

/** How a replica comes to lead. */
export interface Leadership {
  /** Terms come from now on. */
  start(): void;
  /** Ends the term, if there is one, and lets another lead at once; resolves when that is done. */
  stop(): Promise<void>;
}

/** Of a replica that has no other beside it: leads from start to stop. */
export class SoleLeader implements Leadership {
  readonly #onTerm: (term: Term) => void;
  readonly #end = new AbortController();

  constructor(onTerm: (term: Term) => void) {
    this.#onTerm = onTerm;
  }

  start(): void {
    const { signal } = this.#end;
    this.#onTerm({ signal, holds: () => !signal.aborted });
  }

  stop(): Promise<void> {
    this.#end.abort();
    return Promise.resolve();
  }
}

/** Delays of a {@link Candidate}; the defaults are client-go's. */
export interface ElectionTiming {
  /** A lease seen unchanged for so long is anybody's; whole seconds. */
  leaseMs: number;
  /** A term ends this long after the last renewal was sent: well before others may take the lease. */
  renewDeadlineMs: number;
  /** Between two looks or renewals, lengthened by up to a fifth at random. */
  retryMs: number;
}

/** Time and chance, replaced in tests. */
export interface ElectionClock {
  /** Monotonic, in ms. All decisions go by it. */
  now: () => number;
  /** Calls back after `ms`; the result cancels. */
  after: (ms: number, callback: () => void) => () => void;
  /** In [0, 1). */
  random: () => number;
  /** The time of day, for people who read the lease; nothing is decided by it. */
  date: () => Date;
}

/** What a {@link Candidate} is told. */
export interface CandidateOptions {
  kube: Pick<Kube, "get" | "create" | "update">;
  log: Log;
  /** Where the Lease is. */
  namespace: string;
  /** Unlike any other candidate's, the same program's before a restart included. */
  identity: string;
  /** A term begins; its signal tells the end. Must not throw. */
  onTerm: (term: Term) => void;
  timing?: Partial<ElectionTiming>;
  clock?: ElectionClock;
}

const leaseName = "sealwright-controller";
const defaultTiming: ElectionTiming = { leaseMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2_000 };
/** Whoever stops waits no longer for the API server than that. */
const releaseTimeoutMs = 1_000;
const systemClock: ElectionClock = {
  now: () => performance.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
  date: () => new Date(),
};

/**
 * One of the replicas that compete for the Lease. Two never believe to lead at once: a term ends on its holder's own clock
 * before others may take the lease, all writes carry the version that was seen, and the times in the lease mean nothing.
 */
export class Candidate implements Leadership {
  readonly #options: CandidateOptions;
  readonly #timing: ElectionTiming;
  readonly #clock: ElectionClock;
  readonly #abort = new AbortController();
  #sighting: Sighting | undefined;
  /** What the last write left; absent where that is not certain. */
  #held: KubeObject | undefined;
  #until = -Infinity;
  #term: { end: AbortController; cancelExpiry: () => void } | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: CandidateOptions) {
    this.#options = options;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.#clock = options.clock ?? systemClock;
  }

  /** Whether this candidate leads. */
  get leads(): boolean {
    return this.#clock.now() < this.#until;
  }

  /** Competes until {@link stop}. */
  start(): void {
    this.#running = this.#run();
  }

  /** Also gives the lease up. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
    this.#endTerm("stopping");
    if (this.#sighting?.holder === this.#options.identity) await this.#release();
  }

  async #run(): Promise<void> {
    const stopped = (): boolean => this.#abort.signal.aborted;
    while (!stopped()) {
      try {
        await this.#compete();
      } catch (thrown) {
        // It is not known what the lease says now.
        this.#held = undefined;
        const { code, message } = asSecretError(thrown);
        if (!stopped())
          this.#options.log.warn("the lease could not be read or written, trying again", {
            code,
            reason: message,
          });
      }
      await this.#pause();
    }
  }

  /** Looks at the lease, unless the last write tells what it says, and claims or renews it where that may be. */
  async #compete(): Promise<void> {
    const { identity, namespace } = this.#options;
    const { leaseMs, renewDeadlineMs } = this.#timing;
    const lease = this.#held ?? (await this.#look());
    if (this.#untilClaimable() > 0) return;
    const sentAt = this.#clock.now();
    const claim = claimed(lease, { identity, leaseMs, at: this.#clock.date() });
    claim.metadata = { ...claim.metadata, namespace, name: leaseName };
    const written = await this.#write(lease === undefined ? "create" : "update", claim);
    this.#held = written;
    this.#sighting = sight(this.#sighting, written, this.#clock.now());
    // A write that changed nothing, as when the time of day was set back, tells the others of no renewal.
    if (written.metadata.resourceVersion === lease?.metadata.resourceVersion) return;
    this.#extend(sentAt + renewDeadlineMs);
  }

  async #look(): Promise<KubeObject | undefined> {
    const { kube, namespace, identity } = this.#options;
    const lease = await kube.get(leases, { namespace, name: leaseName }, this.#call());
    this.#sighting = sight(this.#sighting, lease, this.#clock.now());
    if (this.#sighting.holder !== identity) this.#endTerm("another replica holds the lease");
    return lease;
  }

  #write(verb: "create" | "update", lease: KubeObject): Promise<KubeObject> {
    return this.#options.kube[verb](leases, lease, this.#call());
  }

  /** A hanging call must leave time for another before the deadline. */
  #call(): { signal: AbortSignal; timeoutMs: number } {
    return { signal: this.#abort.signal, timeoutMs: this.#timing.renewDeadlineMs / 2 };
  }

  /** In ms; zero or less: now. */
  #untilClaimable(): number {
    const { identity } = this.#options;
    const { leaseMs } = this.#timing;
    if (this.#sighting === undefined) return 0;
    return claimableAt(this.#sighting, { identity, leaseMs }) - this.#clock.now();
  }

  #extend(until: number): void {
    // After a lapse that no timer has told of yet, this is a new term.
    if (!this.leads) this.#endTerm("not renewed in time");
    this.#until = until;
    if (!this.leads) return;
    this.#term?.cancelExpiry();
    const cancelExpiry = this.#clock.after(until - this.#clock.now(), () => this.#expire());
    if (this.#term !== undefined) {
      this.#term.cancelExpiry = cancelExpiry;
      return;
    }
    const end = new AbortController();
    this.#term = { end, cancelExpiry };
    this.#options.log.info("leading", { identity: this.#options.identity });
    this.#options.onTerm({ signal: end.signal, holds: () => !end.signal.aborted && this.leads });
  }

  /** Timers may fire a little early; the term then goes on for that little. */
  #expire(): void {
    if (this.#term === undefined) return;
    const leftMs = this.#until - this.#clock.now();
    if (leftMs > 0) this.#term.cancelExpiry = this.#clock.after(leftMs, () => this.#expire());
    else this.#endTerm("not renewed in time");
  }

  #endTerm(reason: string): void {
    this.#until = -Infinity;
    const term = this.#term;
    if (term === undefined) return;
    this.#term = undefined;
    term.cancelExpiry();
    this.#options.log.info("no longer leading", { reason });
    term.end.abort();
  }

  async #release(): Promise<void> {
    const { kube, log, identity, namespace } = this.#options;
    const timeoutMs = releaseTimeoutMs;
    try {
      const lease = this.#held ?? (await kube.get(leases, { namespace, name: leaseName }, { timeoutMs }));
      if (lease === undefined || sight(undefined, lease, 0).holder !== identity) return;
      await kube.update(leases, released(lease, this.#clock.date()), { timeoutMs });
    } catch (thrown) {
      log.warn("the lease could not be given up; it expires by itself", { code: asSecretError(thrown).code });
    }
  }

  #pause(): Promise<void> {
    const { signal } = this.#abort;
    const retryMs = this.#timing.retryMs * (1 + this.#clock.random() / 5);
    const claimableMs = this.#untilClaimable();
    // A lease that runs out before the next look is taken as soon as that may be.
    const ms = claimableMs > 0 ? Math.min(claimableMs, retryMs) : retryMs;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#clock.after(ms, () => {
        signal.removeEventListener("abort", stop);
        resolve();
      });
      const stop = (): void => {
        cancel();
        resolve();
      };
      signal.addEventListener("abort", stop, { once: true });
    });
  }
}
