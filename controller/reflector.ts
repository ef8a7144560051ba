import { setTimeout as sleep } from "node:timers/promises";
import { asSecretError, type SecretError } from "../formats/errors.ts";
import { type Change, Delivery } from "./delivery.ts";
import {
  type Kube,
  type KubeObject,
  keyOf,
  type Resource,
  type Selection,
  type WatchEvent,
} from "./kube-api.ts";

/** What to follow, and whom to tell. */
export interface ReflectorOptions<Kept> extends Selection {
  kube: Kube;
  resource: Resource;
  /** What to hold of an object; `undefined` to hold nothing at all, not even its key. Must not throw. */
  transform: (object: KubeObject) => Kept | undefined;
  /** Synchronous and quick. An object that `transform` no longer keeps counts as deleted. */
  onChange: (change: Change<Kept>) => void;
  /** What `onChange` or `transform` threw at one object. */
  onHandlerError?: ((key: string, thrown: unknown) => void) | undefined;
  /** Each failure of a list or watch; the reflector goes on by itself. */
  onError?: ((error: SecretError) => void) | undefined;
  /** Report every object as deleted when the kind is no longer served; by default only a list proves a deletion. */
  unservedMeansGone?: boolean | undefined;
  timing?: Partial<ReflectorTiming> | undefined;
  /** In [0, 1); spreads reconnects of many replicas. */
  random?: (() => number) | undefined;
}

/** Delays of a {@link Reflector}. */
export interface ReflectorTiming {
  /**
   * Length of one watch, lengthened by up to a quarter at random. A server sends a bookmark just before the end, so even
   * on a quiet resource silence beyond it is a stall, found without a request of its own; readiness asks for 60 s at most.
   */
  watchSeconds: number;
  /** See `WatchOptions.slackMs`. */
  watchSlackMs: number;
  /** Least time between two connects, and the first back-off. */
  reconnectMs: number;
  /** Longest back-off; a fault's end is noticed this much later at worst. */
  maxReconnectMs: number;
  /** A full list besides the watch, against anything that it missed. */
  relistMs: number;
  /** See `DeliveryOptions.redeliverMs`. */
  redeliverMs: number;
}

const defaultTiming: ReflectorTiming = {
  watchSeconds: 40,
  watchSlackMs: 8_000,
  reconnectMs: 1_000,
  maxReconnectMs: 10_000,
  relistMs: 30 * 60_000,
  redeliverMs: 1_000,
};
const maxPage = 500;
/** After so many failures in a row the version to watch from is no longer trusted (etcd restored from a backup). */
const failuresUntilRelist = 6;

interface Held<Kept> {
  resourceVersion: string | undefined;
  kept: Kept;
}

/** A view of one kind of object that follows the API server through whatever happens to it, and never gives up. */
export class Reflector<Kept> {
  readonly #options: ReflectorOptions<Kept>;
  readonly #timing: ReflectorTiming;
  readonly #random: () => number;
  readonly #delivery: Delivery<Kept>;
  readonly #store = new Map<string, Held<Kept>>();
  readonly #firstList = Promise.withResolvers<undefined>();
  /** Where the next watch starts; absent: list first. */
  #version: string | undefined;
  #listedAt = 0;
  #page = maxPage;
  #failures = 0;
  #synced = false;
  #served: boolean | undefined;
  #lastActivity = -Infinity;

  constructor(options: ReflectorOptions<Kept>) {
    this.#options = options;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.#random = options.random ?? Math.random;
    this.#delivery = new Delivery({ ...options, redeliverMs: this.#timing.redeliverMs });
  }

  /** True once a first list was complete; stays true. */
  get synced(): boolean {
    return this.#synced;
  }

  /** Whether the API server knows the kind; `undefined` until it has said so. */
  get served(): boolean | undefined {
    return this.#served;
  }

  /** When the server was last heard, by list, watch or bookmark: milliseconds of `performance.now()`. */
  get lastActivity(): number {
    return this.#lastActivity;
  }

  /** How many objects are held. */
  get size(): number {
    return this.#store.size;
  }

  /** By {@link keyOf}; `undefined` if there is none that `transform` keeps. */
  get(key: string): Kept | undefined {
    return this.#store.get(key)?.kept;
  }

  keys(): IterableIterator<string> {
    return this.#store.keys();
  }

  /**
   * Takes in an object that the consumer has read by itself, without telling of it: for one that `transform` did not keep
   * when it passed by and does keep now, so that its next change is noticed.
   */
  hold(object: KubeObject): void {
    const key = keyOf(object.metadata);
    const kept = this.#store.has(key) ? undefined : this.#options.transform(object);
    if (kept !== undefined) this.#store.set(key, { resourceVersion: object.metadata.resourceVersion, kept });
  }

  /** Resolves once a first list was complete. */
  async whenSynced(): Promise<void> {
    await this.#firstList.promise;
  }

  /** Follows until the signal aborts; resolves then, and never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const stopped = (): boolean => signal.aborted;
    while (!stopped()) {
      const startedAt = performance.now();
      let error: SecretError | undefined;
      try {
        if (this.#version === undefined || startedAt - this.#listedAt > this.#timing.relistMs) {
          this.#version = await this.#list(signal);
        }
        await this.#watch(this.#version, signal);
        this.#failures = 0;
      } catch (thrown) {
        if (stopped()) break;
        error = asSecretError(thrown);
        const lived = performance.now() - startedAt > this.#timing.maxReconnectMs;
        this.#failures = lived ? 1 : this.#failures + 1;
        this.#recover(error);
      }
      await this.#pause({ startedAt, error, signal });
    }
    this.#delivery.stop();
  }

  /** Brings the store to the state of one moment, and gives that moment's version. */
  async #list(signal: AbortSignal): Promise<string> {
    const { kube, resource } = this.#options;
    const seen = new Set<string>();
    let version: string | undefined;
    let next: string | undefined;
    do {
      const page = await kube.list(resource, {
        ...this.#selection(),
        limit: this.#page,
        continue: next,
        signal,
      });
      this.#heard();
      for (const object of page.items) {
        const key = this.#upsert(object);
        if (key !== undefined) seen.add(key);
      }
      version ??= page.resourceVersion;
      next = page.continue;
    } while (next !== undefined);
    for (const key of [...this.#store.keys()]) if (!seen.has(key)) this.#remove(key);
    this.#listedAt = performance.now();
    this.#page = maxPage;
    this.#synced = true;
    this.#firstList.resolve(undefined);
    return version;
  }

  async #watch(resourceVersion: string, signal: AbortSignal): Promise<void> {
    const { kube, resource } = this.#options;
    const events = kube.watch(resource, {
      ...this.#selection(),
      resourceVersion,
      timeoutSeconds: Math.ceil(this.#timing.watchSeconds * (1 + this.#random() / 4)),
      slackMs: this.#timing.watchSlackMs,
      onOpen: () => this.#heard(),
      signal,
    });
    for await (const event of events) {
      this.#heard();
      this.#failures = 0;
      this.#take(event);
    }
  }

  #take({ type, object }: WatchEvent): void {
    if (type === "DELETED") this.#remove(keyOf(object.metadata));
    else if (type !== "BOOKMARK") this.#upsert(object);
    this.#version = object.metadata.resourceVersion ?? this.#version;
  }

  /** The key, if the object is kept. */
  #upsert(object: KubeObject): string | undefined {
    const key = keyOf(object.metadata);
    const { resourceVersion } = object.metadata;
    const before = this.#store.get(key);
    if (resourceVersion !== undefined && before?.resourceVersion === resourceVersion) return key;
    let kept: Kept | undefined;
    try {
      kept = this.#options.transform(object);
    } catch (thrown) {
      this.#options.onHandlerError?.(key, thrown);
      return before === undefined ? undefined : key;
    }
    if (kept === undefined) {
      this.#remove(key);
      return undefined;
    }
    this.#store.set(key, { resourceVersion, kept });
    this.#delivery.hand(key, before?.kept, kept);
    return key;
  }

  #remove(key: string): void {
    const before = this.#store.get(key);
    if (before === undefined) return;
    this.#store.delete(key);
    this.#delivery.hand(key, before.kept, undefined);
  }

  /** Decides from where to go on. */
  #recover(error: SecretError): void {
    switch (error.code) {
      case "NotFound":
        this.#heard();
        this.#served = false;
        this.#version = undefined;
        if (this.#options.unservedMeansGone === true)
          for (const key of [...this.#store.keys()]) this.#remove(key);
        break;
      case "Expired":
        this.#version = undefined;
        break;
      case "Rejected":
        // A page too large to read, or a version that this server never gave out.
        this.#version = undefined;
        this.#page = Math.max(1, this.#page >> 2);
        break;
      default:
        if (this.#failures % failuresUntilRelist === 0) this.#version = undefined;
    }
    this.#options.onError?.(error);
  }

  #heard(): void {
    this.#lastActivity = performance.now();
    this.#served = true;
  }

  #selection(): Selection {
    const { namespace, labelSelector, fieldSelector, metadataOnly } = this.#options;
    return { namespace, labelSelector, fieldSelector, metadataOnly };
  }

  async #pause(after: {
    startedAt: number;
    error: SecretError | undefined;
    signal: AbortSignal;
  }): Promise<void> {
    const { reconnectMs, maxReconnectMs } = this.#timing;
    const sinceStart = performance.now() - after.startedAt;
    const backoffMs =
      Math.min(maxReconnectMs, reconnectMs * 2 ** Math.min(16, this.#failures)) * this.#random();
    const asked = Math.min(after.error?.retryAfterMs ?? 0, 60_000);
    const ms = Math.max(reconnectMs - sinceStart, after.error === undefined ? 0 : backoffMs, asked);
    if (ms > 0) await sleep(ms, undefined, { signal: after.signal }).catch(() => undefined);
  }
}
