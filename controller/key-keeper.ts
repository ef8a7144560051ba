import { asSecretError } from "../formats/errors.ts";
import type { EventRecorder } from "./events.ts";
import { guarded } from "./guarded.ts";
import { refOf, secrets, type Kube, type KubeObject } from "./kube-api.ts";
import type { Term } from "./leader.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { Reflector } from "./reflector.ts";
import { keyLabel, SealingKeys, type KeyChange, type KeyPolicy } from "./sealing-keys.ts";

/** What a {@link KeyKeeper} works with. */
export interface KeyKeeperOptions {
  kube: Kube;
  policy: KeyPolicy;
  log: Log;
  metrics: Metrics;
  events: EventRecorder;
  now: () => Date;
  /** Told of every change of the key set. */
  onChange: (change: KeyChange) => void;
}

const renewalCheckMs = 60_000;
const startRetryMs = 2_000;

/** Keeps the sealing keys as the key Secrets say, and renews them in time while it is told to. */
export class KeyKeeper {
  readonly keys: SealingKeys;
  readonly reflector: Reflector<KubeObject>;
  readonly #options: KeyKeeperOptions;
  /** Key Secrets are read one after another, so that the latest state of one wins. */
  #work: Promise<void> = Promise.resolve();
  #term: Term | undefined;
  /** Settles when the last new key is stored, or is not going to be. */
  #renewal: Promise<unknown> = Promise.resolve();

  constructor(options: KeyKeeperOptions) {
    this.#options = options;
    const kube = guarded(options.kube, () => this.#term?.holds() === true);
    this.keys = new SealingKeys(kube, options.policy, options.now);
    this.reflector = new Reflector<KubeObject>({
      kube: options.kube,
      resource: secrets,
      namespace: options.policy.namespace,
      labelSelector: `${keyLabel}=active`,
      transform: (secret) => secret,
      onChange: ({ key, new: secret }) => {
        this.#work = this.#work.then(() =>
          secret === undefined ? this.#removed(refOf(key).name) : this.#added(secret),
        );
      },
      onError: ({ code, message }) =>
        options.log.warn("watch of key Secrets interrupted, continuing", { code, reason: message }),
    });
  }

  /** Loads the keys that exist; may find none. Resolves then, or when the signal aborts. */
  async load(signal: AbortSignal): Promise<void> {
    this.#options.log.info("Searching for existing private keys");
    await Promise.race([this.reflector.whenSynced(), aborted(signal)]);
    await this.#insist(signal, () => this.#loadLegacyKey());
    await this.#work;
  }

  /**
   * Makes a key now and later where one is due, until the term ends. Resolves when that was first decided, on a list made
   * in this term: the watch may not have told yet of a key that another replica made.
   */
  async renewDuring(term: Term): Promise<void> {
    // A key that was begun in an earlier term must not be stored in this one.
    await this.#renewal;
    this.#term = term;
    await this.#insist(term.signal, () => this.#listAgain());
    await this.#insist(term.signal, () => this.#renewIfDue());
    if (term.signal.aborted) return;
    const checks = setInterval(
      () => void this.#renewIfDue().catch((thrown: unknown) => this.#notStored(thrown)),
      renewalCheckMs,
    );
    term.signal.addEventListener("abort", () => clearInterval(checks));
  }

  /** Makes a new sealing key now. @throws SecretError as {@link Kube} where it cannot be stored; NotLeader */
  async renew(): Promise<void> {
    await this.#tracked(this.keys.renew());
    this.#announce();
  }

  async #renewIfDue(): Promise<void> {
    if (await this.#tracked(this.keys.renewIfDue())) this.#announce();
  }

  #tracked<T>(renewal: Promise<T>): Promise<T> {
    this.#renewal = renewal.catch(() => undefined);
    return renewal;
  }

  async #listAgain(): Promise<void> {
    const { kube, policy } = this.#options;
    const { items } = await kube.list(secrets, {
      namespace: policy.namespace,
      labelSelector: `${keyLabel}=active`,
    });
    for (const secret of items) this.#work = this.#work.then(() => this.#added(secret));
    await this.#work;
  }

  #announce(): void {
    const { log, policy, metrics } = this.#options;
    const { certificate } = this.keys;
    log.info("New key written", { namespace: policy.namespace, name: this.keys.newestSecret });
    log.info("Certificate generated", {
      fingerprint: certificate?.fingerprint ?? "",
      certificate: certificate?.pem ?? "",
    });
    metrics.sealingKeys(this.keys.ordered().length, certificate?.notAfter);
  }

  async #added(secret: KubeObject): Promise<void> {
    const { log, metrics, events } = this.#options;
    const { name } = secret.metadata;
    const before = this.keys.ordered().length;
    try {
      const change = await this.keys.register(secret);
      metrics.keySecretMalformed(name, false);
      if (change !== undefined) {
        log.info("registered private key", { secretname: name });
        this.#options.onChange(change);
      }
    } catch (thrown) {
      const { code, message, hint = "" } = asSecretError(thrown);
      metrics.keySecretMalformed(name, true);
      log.error(message, { code, hint });
      events.record(
        { ...secret, apiVersion: "v1", kind: "Secret" },
        { type: "Warning", reason: code, message: `${message}: ${hint}` },
      );
    }
    this.#counted(before);
  }

  #removed(name: string): void {
    this.#options.metrics.keySecretMalformed(name, false);
    const before = this.keys.ordered().length;
    const change = this.keys.remove(name);
    if (change === undefined) return;
    this.#options.log.warn("private key removed", {
      secretname: name,
      remaining: this.keys.ordered().length,
    });
    this.#options.onChange(change);
    this.#counted(before);
  }

  #counted(before: number): void {
    const { length } = this.keys.ordered();
    this.#options.metrics.sealingKeys(length, this.keys.certificate?.notAfter);
    if (length === 0 && before > 0)
      this.#options.log.error("no sealing key is left; a new one is made at the next check");
  }

  /** The first releases of Sealed Secrets kept one key under a fixed name, without the label. */
  async #loadLegacyKey(): Promise<void> {
    const { kube, policy } = this.#options;
    const secret = await kube.get(secrets, { namespace: policy.namespace, name: policy.prefix });
    if (secret !== undefined && secret.metadata.labels?.[keyLabel] === undefined) await this.#added(secret);
  }

  #notStored(thrown: unknown): void {
    const { code, message } = asSecretError(thrown);
    this.#options.log.error("a new sealing key could not be stored, trying again", { code, reason: message });
  }

  /** At start there is nothing to serve without the answer: asks until there is one. */
  async #insist(signal: AbortSignal, act: () => Promise<void>): Promise<void> {
    while (!signal.aborted) {
      try {
        await act();
        return;
      } catch (thrown) {
        const { code, message } = asSecretError(thrown);
        this.#options.log.error("waiting for the API server", { code, reason: message });
        await Promise.race([new Promise((resolve) => setTimeout(resolve, startRetryMs)), aborted(signal)]);
      }
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
