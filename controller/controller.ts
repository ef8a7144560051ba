import { asSecretError } from "../formats/errors.ts";
import { createEventRecorder, type EventRecorder } from "./events.ts";
import { KeyKeeper } from "./key-keeper.ts";
import { guarded } from "./guarded.ts";
import { keyOf, refOf, secrets, type Kube, type KubeObject } from "./kube-api.ts";
import { Candidate, SoleLeader, type Leadership, type Term } from "./leader.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { Queue } from "./queue.ts";
import { Reflector, type ReflectorOptions } from "./reflector.ts";
import { SealedSecretReconciler, sealedSecrets } from "./sealed-secret.ts";
import { isSynced } from "./status.ts";
import type { KeyChange, KeyPolicy, SealingKeys } from "./sealing-keys.ts";

/** What a {@link Controller} is told. */
export interface ControllerOptions {
  kube: Kube;
  log: Log;
  metrics: Metrics;
  keyPolicy: KeyPolicy;
  /** Namespaces to serve; `undefined`: all of them. */
  namespaces: readonly string[] | undefined;
  /** Which SealedSecrets to serve. */
  labelSelector: string | undefined;
  /** SealedSecrets reconciled at a time. */
  workers: number;
  acceptBlob: boolean;
  updatesStatus: boolean;
  /** Off with `--skip-recreate`: an edited or deleted Secret is then left as it is. */
  watchesSecrets: boolean;
  /** `--old-gc-behavior`: delete the Secret of a deleted SealedSecret without waiting for the garbage collector. */
  deletesSecrets: boolean;
  /** Name among the replicas that elect a leader, unlike any other; absent: there are no other replicas. */
  identity?: string | undefined;
  now?: () => Date;
}

/** Upstream's, since people filter events by it. */
const eventComponent = "sealed-secrets";
/** A watch that was silent for longer may be dead. */
const staleMs = 60_000;

/** What one namespace, or all of them, is followed by. */
interface Follower {
  sealed: Reflector<KubeObject>;
  /** Holds the version of each Secret that a SealedSecret names, and nothing of any other. */
  secrets: Reflector<string> | undefined;
}

/** What a leader has; nothing of it outlives the term, so that a new one starts from what the cluster says. */
interface Duty {
  /** Writes for as long as the term holds. */
  kube: Kube;
  queue: Queue;
  reconciler: SealedSecretReconciler;
  events: EventRecorder;
}

/** Follows SealedSecrets, their Secrets and the sealing keys, and, as the leader of its replicas, reconciles what changed. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #events: EventRecorder;
  readonly #keeper: KeyKeeper;
  readonly #leadership: Leadership;
  /** By namespace; the one key `undefined` where all are served. */
  readonly #followers: Map<string | undefined, Follower>;
  readonly #abort = new AbortController();
  readonly #runs: Promise<void>[] = [];
  #followed: Promise<void> = Promise.resolve();
  #leading: Promise<void> = Promise.resolve();
  #duty: Duty | undefined;

  constructor(options: ControllerOptions) {
    const { kube, log, metrics, now = () => new Date(), keyPolicy, identity } = options;
    this.#options = options;
    this.#events = this.#createRecorder(kube);
    this.#keeper = new KeyKeeper({
      ...{ kube, log, metrics, now, events: this.#events },
      policy: options.keyPolicy,
      onChange: (change) => this.#keysChanged(change),
    });
    const onTerm = (term: Term): void => void (this.#leading = this.#lead(term));
    const { namespace } = keyPolicy;
    this.#leadership =
      identity === undefined
        ? new SoleLeader(onTerm)
        : new Candidate({ kube, log, namespace, identity, onTerm });
    this.#followers = new Map(
      (options.namespaces ?? [undefined]).map((namespace) => [namespace, this.#follow(namespace)]),
    );
    metrics.observeQueue(() => this.#duty?.queue.length ?? 0);
    metrics.observeLeadership(() => this.#duty !== undefined);
    this.#observeWatches();
  }

  /** The sealing keys in use. */
  get keys(): SealingKeys {
    return this.#keeper.keys;
  }

  /**
   * Loads the sealing keys and follows the cluster until {@link stop}; as the leader, also makes keys and reconciles.
   * Resolves when the first lists are complete and, where there are no other replicas, there is a key.
   */
  async start(): Promise<void> {
    this.#run(this.#keeper.reflector);
    await this.#keeper.load(this.#abort.signal);
    if (this.#abort.signal.aborted) return;
    this.#followed = this.#followAll();
    this.#leadership.start();
    await Promise.all([this.#leading, this.#followed]);
  }

  async #followAll(): Promise<void> {
    const followers = [...this.#followers.values()];
    for (const { sealed } of followers) this.#run(sealed);
    await this.#synced(followers.map(({ sealed }) => sealed));
    // Only then is it known which Secrets are of interest.
    const watched = followers.flatMap(({ secrets: own }) => own ?? []);
    for (const reflector of watched) this.#run(reflector);
    await this.#synced(watched);
  }

  /** Keys first: without one nothing can be sealed, and the type may not even be installed yet. */
  async #lead(term: Term): Promise<void> {
    await this.#keeper.renewDuring(term);
    await this.#followed;
    if (term.signal.aborted || this.#abort.signal.aborted) return;
    const duty = this.#createDuty(term);
    this.#duty = duty;
    term.signal.addEventListener("abort", () => this.#layDown(duty));
    for (const { sealed } of this.#followers.values())
      for (const key of sealed.keys()) duty.queue.add(key, { priority: "resync" });
    duty.queue.start();
  }

  #layDown({ queue }: Duty): void {
    this.#duty = undefined;
    void queue.stop(0);
    for (const { sealed } of this.#followers.values())
      for (const key of sealed.keys()) {
        const { namespace = "", name } = refOf(key);
        this.#options.metrics.removeObject(namespace, name);
      }
  }

  /** Whether the controller sees the cluster: every list complete, every watch heard of within a minute. */
  ready(): { ok: boolean; reason: string } {
    if (this.keys.certificate === undefined) return { ok: false, reason: "no sealing key yet" };
    for (const reflector of [this.#keeper.reflector, ...this.#reflectors()]) {
      if (!reflector.synced) return { ok: false, reason: "not listed yet" };
      if (performance.now() - reflector.lastActivity > staleMs)
        return { ok: false, reason: "a watch is silent" };
    }
    return { ok: true, reason: "ok" };
  }

  /** Makes a new sealing key now. @throws SecretError as {@link Kube} where it cannot be stored */
  renewKey(): Promise<void> {
    return this.#keeper.renew();
  }

  /** Ends within `graceMs`: no new passes, those under way are finished, news is written. */
  async stop(graceMs: number): Promise<void> {
    this.#abort.abort();
    const late = new Promise((resolve) => setTimeout(resolve, graceMs).unref());
    await Promise.race([this.#finish(graceMs), late]);
    await this.#leadership.stop();
    await Promise.race([Promise.all(this.#runs), late]);
  }

  async #finish(graceMs: number): Promise<void> {
    const duty = this.#duty;
    await duty?.queue.stop(graceMs);
    await Promise.all([duty?.events.flush(), this.#events.flush()]);
  }

  #createDuty(term: Term): Duty {
    const { log, metrics, updatesStatus, acceptBlob, now = () => new Date() } = this.#options;
    const kube = guarded(this.#options.kube, () => term.holds());
    const events = this.#createRecorder(kube);
    const reconciler = new SealedSecretReconciler({
      ...{ kube, acceptBlob, keys: this.#keeper.keys },
      reporter: { kube, log, metrics, now, updatesStatus, events, resource: sealedSecrets },
      find: (key) => this.#followerOf(key)?.sealed.get(key),
      lastSeen: (key) => lastSeen(this.#followerOf(key)?.secrets, key),
      onLive: (live) => this.#followerOf(keyOf(live.metadata))?.secrets?.hold(live),
    });
    return { kube, events, reconciler, queue: this.#createQueue(reconciler) };
  }

  #createRecorder(kube: Kube): EventRecorder {
    const { metrics, now = () => new Date() } = this.#options;
    const onDropped = (): void => metrics.eventDropped();
    return createEventRecorder(kube, { component: eventComponent, now, onDropped });
  }

  #createQueue(reconciler: SealedSecretReconciler): Queue {
    const { log, metrics, workers } = this.#options;
    return new Queue({
      workers,
      handle: (key, run) => {
        metrics.unsealRequested();
        log.info("Updating", { key });
        return reconciler.reconcile(key, run);
      },
      onFailure: (key, { error, attempt, retryInMs }) => {
        const retryInSeconds = Math.round(retryInMs / 1000);
        log.error("Error updating, will retry", {
          key,
          error: error.message,
          code: error.code,
          attempt,
          retryInSeconds,
        });
      },
      onStart: (_key, { waitedMs }) => metrics.queueLatency(waitedMs),
      onDone: (_key, { tookMs, ok }) => metrics.reconciled(sealedSecrets.kind, ok ? "ok" : "error", tookMs),
    });
  }

  #follow(namespace: string | undefined): Follower {
    const sealed = this.#followSealed(namespace);
    return {
      sealed,
      secrets: this.#options.watchesSecrets ? this.#followSecrets(namespace, sealed) : undefined,
    };
  }

  #followSealed(namespace: string | undefined): Reflector<KubeObject> {
    const { kube, labelSelector } = this.#options;
    const reflector = new Reflector<KubeObject>({
      ...{ kube, labelSelector, namespace, resource: sealedSecrets },
      transform: withoutManagedFields,
      onChange: ({ type, key, old, new: now }) => {
        if (type === "deleted") this.#deleted(key, old);
        else if (
          old === undefined ||
          now === undefined ||
          isChanged(old, now) ||
          this.#isContradicted(key, now)
        ) {
          this.#duty?.queue.add(key, { priority: reflector.synced ? "change" : "resync" });
        }
      },
      ...this.#reporting("sealedsecrets"),
    });
    return reflector;
  }

  /** A status write of ours that was overtaken by a restart of the API server may land behind a later pass; or others write one. */
  #isContradicted(key: string, now: KubeObject): boolean {
    return this.#duty?.reconciler.isSettled(key) === true && !isSynced(now);
  }

  #followSecrets(namespace: string | undefined, sealed: Reflector<KubeObject>): Reflector<string> {
    const reflector = new Reflector<string>({
      ...{ kube: this.#options.kube, namespace, resource: secrets, metadataOnly: true },
      transform: ({ metadata }) =>
        sealed.get(keyOf(metadata)) === undefined ? undefined : (metadata.resourceVersion ?? ""),
      onChange: ({ type, key, new: version }) => {
        const duty = this.#duty;
        // What the first list finds is looked at by the SealedSecret's own first pass.
        if (!reflector.synced || duty === undefined || sealed.get(key) === undefined) return;
        if (type === "deleted") duty.reconciler.secretDeleted(key);
        if (!duty.reconciler.isRight(key, version)) duty.queue.add(key);
      },
      ...this.#reporting("secrets"),
    });
    return reflector;
  }

  #observeWatches(): void {
    const { metrics } = this.#options;
    const oldest = (reflectors: { lastActivity: number }[]) => () =>
      Math.min(...reflectors.map(({ lastActivity }) => lastActivity));
    const followers = [...this.#followers.values()];
    metrics.observeWatch("sealedsecrets", oldest(followers.map(({ sealed }) => sealed)));
    if (this.#options.watchesSecrets)
      metrics.observeWatch("secrets", oldest(followers.flatMap(({ secrets: own }) => own ?? [])));
  }

  #reporting(name: string): Pick<ReflectorOptions<unknown>, "onError" | "onHandlerError"> {
    const { log } = this.#options;
    return {
      onError: ({ code, message }) =>
        log.warn(`watch of ${name} interrupted, continuing`, { code, reason: message }),
      onHandlerError: (key, thrown) =>
        log.error("an event could not be taken, trying again", { key, code: asSecretError(thrown).code }),
    };
  }

  #deleted(key: string, old: KubeObject | undefined): void {
    const { namespace = "", name } = refOf(key);
    this.#options.metrics.removeObject(namespace, name);
    const duty = this.#duty;
    if (duty === undefined) return;
    duty.queue.forget(key);
    duty.reconciler.forget(key);
    if (this.#options.deletesSecrets && old !== undefined) void this.#deleteSecret(key, old, duty);
  }

  async #deleteSecret(key: string, old: KubeObject, { kube }: Duty): Promise<void> {
    try {
      const live = await kube.get(secrets, refOf(key));
      const owners = live?.metadata.ownerReferences ?? [];
      const isOwned = owners.some((owner) => owner.controller === true && owner.uid === old.metadata.uid);
      if (isOwned) await kube.delete(secrets, refOf(key), { uid: live?.metadata.uid });
    } catch (error) {
      // The garbage collector does the same by the owner reference, only later.
      this.#options.log.warn("could not delete the Secret of a deleted SealedSecret", {
        key,
        code: asSecretError(error).code,
      });
    }
  }

  /** A new key may open what none did; what a lost one opened must be opened anew. */
  #keysChanged({ added, removed }: KeyChange): void {
    const duty = this.#duty;
    if (duty === undefined) return;
    const waiting = added.length > 0 ? duty.reconciler.unopened() : [];
    for (const key of [...waiting, ...duty.reconciler.forgetOpenedBy(removed)]) duty.queue.add(key);
  }

  #followerOf(key: string): Follower | undefined {
    return this.#followers.get(undefined) ?? this.#followers.get(refOf(key).namespace);
  }

  #reflectors(): (Reflector<KubeObject> | Reflector<string>)[] {
    return [...this.#followers.values()].flatMap(({ sealed, secrets: own }) =>
      own === undefined ? [sealed] : [sealed, own],
    );
  }

  async #synced(reflectors: readonly { whenSynced: () => Promise<void> }[]): Promise<void> {
    const stopped = new Promise((resolve) =>
      this.#abort.signal.addEventListener("abort", resolve, { once: true }),
    );
    await Promise.race([Promise.all(reflectors.map((reflector) => reflector.whenSynced())), stopped]);
  }

  #run(reflector: { run: (signal: AbortSignal) => Promise<void> }): void {
    this.#runs.push(reflector.run(this.#abort.signal));
  }
}

function lastSeen(
  watch: Reflector<string> | undefined,
  key: string,
): { version: string | undefined } | undefined {
  return watch?.synced === true ? { version: watch.get(key) } : undefined;
}

/** Items of a list carry no kind, and nobody here reads who managed a SealedSecret. */
function withoutManagedFields({
  metadata: { managedFields: _, ...metadata },
  ...object
}: KubeObject): KubeObject {
  return {
    ...object,
    metadata,
    apiVersion: `${sealedSecrets.group}/${sealedSecrets.version}`,
    kind: sealedSecrets.kind,
  };
}

/** Status writes, our own among them, come back as events; only these fields ask for a pass. */
function isChanged(old: KubeObject, now: KubeObject): boolean {
  const identity = ({ metadata }: KubeObject): string =>
    JSON.stringify([
      metadata.uid,
      metadata.generation,
      metadata.annotations,
      metadata.labels,
      metadata.deletionTimestamp,
    ]);
  return identity(old) !== identity(now);
}
