import { createHmac, randomBytes } from "node:crypto";
import { asSecretError, SecretError } from "../formats/errors.ts";
import { parseSealedSecret, sealedSecretKind, type SealedSecret } from "../formats/sealed-secret.ts";
import { sealedScope, unseal } from "../formats/unseal.ts";
import type { Secret } from "../formats/secret.ts";
import { applyPlan, planSecret, type Owner, type Plan } from "./apply.ts";
import type { Drift } from "./drift.ts";
import { keyOf, secrets, type Kube, type KubeObject, type Resource } from "./kube-api.ts";
import type { Priority } from "./queue.ts";
import type { SealingKeys } from "./sealing-keys.ts";
import { isSynced, report, type Outcome, type Reporter } from "./status.ts";

/** `bitnami.com/v1alpha1` SealedSecret as the API serves it. */
export const sealedSecrets: Resource = {
  group: "bitnami.com",
  version: "v1alpha1",
  plural: "sealedsecrets",
  kind: sealedSecretKind.kind,
  namespaced: true,
};

/** What the reconciler remembers of an object between passes; never plaintext. */
interface Remembered {
  /** Keyed digest of all that the Secret is made from. */
  source: string;
  /** Resource version of the Secret when it was last seen right. */
  secretVersion: string | undefined;
  /** Fingerprints of the keys that opened it. */
  openedBy: ReadonlySet<string>;
}

const results = { create: "created", update: "updated", keep: "unchanged" } as const;

/** What a {@link SealedSecretReconciler} works with. */
export interface SealedSecretContext {
  kube: Kube;
  keys: SealingKeys;
  reporter: Reporter;
  /** The cached object; `undefined` once it is deleted. */
  find: (key: string) => KubeObject | undefined;
  /**
   * What the watch of Secrets last said of one: its version, or that it holds none. `undefined` where it cannot tell, since
   * Secrets are not watched or not listed yet.
   */
  lastSeen: (key: string) => { version: string | undefined } | undefined;
  /** Told of each live Secret that a pass has looked at or written, so that its next change is noticed. */
  onLive: (live: KubeObject) => void;
  /** `--accept-deprecated-v1-data` */
  acceptBlob: boolean;
}

/** Keeps the Secret of each SealedSecret as the SealedSecret says. */
export class SealedSecretReconciler {
  readonly #context: SealedSecretContext;
  readonly #remembered = new Map<string, Remembered>();
  /** Objects whose last pass ended well. */
  readonly #settled = new Set<string>();
  /** Objects that no key opened. */
  readonly #unopened = new Set<string>();
  /** Objects whose Secret was deleted since their last pass began. */
  readonly #bereft = new Set<string>();
  /** A digest under a key of this process alone: equal sources are told, values are not guessable from it. */
  readonly #digestKey = randomBytes(32);

  constructor(context: SealedSecretContext) {
    this.#context = context;
  }

  /**
   * One pass over one object, from its present state alone.
   * @returns when the queue should come back, if it should
   * @throws SecretError for the queue, whose retry policy decides when the next pass comes
   */
  async reconcile(
    key: string,
    { priority }: { priority: Priority } = { priority: "change" },
  ): Promise<{ requeueAfterMs?: number }> {
    const object = this.#context.find(key);
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) {
      this.forget(key);
      return {};
    }
    const outcome = await this.#pass(object).catch((thrown: unknown): Outcome => {
      return { result: "failed", error: asSecretError(thrown) };
    });
    this.#note(key, outcome);
    // In a start-up flood pods wait for Secrets, nobody for conditions: those follow in a second pass, behind the other objects.
    if (priority === "resync" && outcome.result === "created" && outcome.drift === undefined)
      return { requeueAfterMs: 0 };
    await report(object, outcome, this.#context.reporter);
    if (outcome.result === "failed") throw outcome.error;
    return {};
  }

  /** Whether a version of an object's Secret is one that the last pass left or found right. */
  isRight(key: string, secretVersion: string | undefined): boolean {
    return secretVersion !== undefined && this.#remembered.get(key)?.secretVersion === secretVersion;
  }

  /**
   * Told of each deletion of an object's Secret. The answer to a write may come after the deletion of what it wrote; the
   * version that it names is then not believed.
   */
  secretDeleted(key: string): void {
    this.#bereft.add(key);
  }

  /** Drops what is remembered of an object. */
  forget(key: string): void {
    this.#bereft.delete(key);
    this.#remembered.delete(key);
    this.#settled.delete(key);
    this.#unopened.delete(key);
  }

  /** The keys of the objects that no sealing key opened so far: a new one may. */
  unopened(): string[] {
    return [...this.#unopened];
  }

  /** Forgets what the objects opened by these keys were; each is then opened again. @returns their keys */
  forgetOpenedBy(fingerprints: readonly string[]): string[] {
    const affected = [...this.#remembered].filter(([, { openedBy }]) =>
      fingerprints.some((print) => openedBy.has(print)),
    );
    for (const [key] of affected) this.#remembered.delete(key);
    return affected.map(([key]) => key);
  }

  /** Whether the last pass over an object ended well. */
  isSettled(key: string): boolean {
    return this.#settled.has(key);
  }

  #note(key: string, outcome: Outcome): void {
    if (outcome.result === "failed") this.#settled.delete(key);
    else this.#settled.add(key);
    if (outcome.result === "failed" && outcome.error.code === "CannotUnseal") this.#unopened.add(key);
    else this.#unopened.delete(key);
  }

  #recall(key: string): Remembered | undefined {
    const before = this.#remembered.get(key);
    if (!this.#bereft.delete(key) || before === undefined) return before;
    const doubted = { ...before, secretVersion: undefined };
    this.#remembered.set(key, doubted);
    return doubted;
  }

  async #pass(object: KubeObject): Promise<Outcome> {
    const key = keyOf(object.metadata);
    const before = this.#recall(key);
    const source = this.#sourceOf(object);
    const seen = this.#context.lastSeen(key);
    const isSame = (version: string | undefined): boolean =>
      before?.source === source && version !== undefined && version === before.secretVersion;
    if (isSame(seen?.version)) return { result: "unchanged" };
    // A Secret that the watch does not hold is most likely not there: creating it finds out at no extra cost.
    const mayBeThere = seen === undefined || seen.version !== undefined;
    const live = mayBeThere ? await this.#look(object) : undefined;
    if (isSame(live?.metadata.resourceVersion)) return { result: "unchanged" };

    const { secret, openedBy } = await this.#open(object, before);
    this.#context.keys.used(openedBy);
    try {
      const { plan, version } = await this.#settle(object, { secret, live, mayBeThere });
      this.#remembered.set(key, { source, secretVersion: version, openedBy });
      const drift = driftOf(plan, before === undefined ? isSynced(object) : before.source === source);
      return { result: results[plan.action], drift };
    } finally {
      for (const value of secret.entries.values()) value.fill(0);
    }
  }

  async #look({ metadata }: KubeObject): Promise<KubeObject | undefined> {
    const live = await this.#context.kube.get(secrets, metadata);
    if (live !== undefined) this.#context.onLive(live);
    return live;
  }

  /** Decides and writes, and once more where a Secret that was taken for absent is there. */
  async #settle(
    object: KubeObject,
    { secret, live, mayBeThere }: { secret: Secret; live: KubeObject | undefined; mayBeThere: boolean },
  ): Promise<{ plan: Plan; version: string | undefined }> {
    const plan = planSecret(secret, ownerOf(object), live);
    try {
      const version = await applyPlan(this.#context.kube, plan);
      // The watch may be down: what is made and deleted meanwhile would be missed by it.
      if (plan.action !== "keep") this.#context.onLive(withVersion(plan.object, version));
      return { plan, version: version ?? live?.metadata.resourceVersion };
    } catch (thrown) {
      const error = asSecretError(thrown);
      if (mayBeThere || error.code !== "Conflict") throw explained(error);
      return this.#settle(object, { secret, live: await this.#look(object), mayBeThere: true });
    }
  }

  async #open(
    object: KubeObject,
    before: Remembered | undefined,
  ): Promise<{ secret: Secret; openedBy: Set<string> }> {
    const sealed = parseSealedSecret({
      object: object,
      place: `SealedSecret ${keyOf(object.metadata)}`,
    });
    requireNoTemplates(sealed);
    const keys = this.#context.keys.ordered(before?.openedBy);
    try {
      return await unseal(sealed, keys, { acceptBlob: this.#context.acceptBlob });
    } catch (thrown) {
      const error = asSecretError(thrown);
      if (error.code !== "CannotUnseal") throw error;
      const scope = await sealedScope(sealed, keys);
      if (scope === undefined) throw error;
      throw new SecretError("CannotUnseal", error.message, {
        cause: error,
        hint: `sealed with scope ${scope}, which the annotations of this object do not say; seal again, or correct the annotation`,
      });
    }
  }

  #sourceOf({ metadata, spec }: KubeObject): string {
    const { uid, name, namespace, annotations } = metadata;
    return createHmac("sha256", this.#digestKey)
      .update(JSON.stringify([uid, namespace, name, annotations, spec]))
      .digest("base64");
  }
}

function withVersion(object: KubeObject, resourceVersion: string | undefined): KubeObject {
  return { ...object, metadata: { ...object.metadata, resourceVersion } };
}

function ownerOf({ metadata }: KubeObject): Owner {
  return { ...sealedSecretKind, name: metadata.name, uid: metadata.uid ?? "" };
}

/** A difference is drift where the Secret had been right for this very source; else it is news. */
function driftOf(plan: Plan, wasRight: boolean): Drift | undefined {
  if (!wasRight || plan.action === "keep") return undefined;
  if (plan.action === "update") return plan.drift;
  return {
    added: [],
    changed: [],
    removed: Object.keys(plan.object["data"] ?? {}),
    metadata: [],
    manager: undefined,
  };
}

function requireNoTemplates({ template, metadata }: SealedSecret): void {
  if (template.data === undefined || Object.keys(template.data).length === 0) return;
  throw new SecretError(
    "TemplateUnsupported",
    `SealedSecret ${metadata.namespace ?? ""}/${metadata.name ?? ""} uses spec.template.data`,
    {
      hint: "this version does not render templates yet; seal the finished values instead",
    },
  );
}

/** The words that people search for, over the API server's refusal. */
function explained(error: SecretError): SecretError {
  if (error.code !== "ImmutableSecret") return error;
  return new SecretError("ImmutableSecret", "the target Secret is immutable", {
    cause: error,
    hint: "delete the Secret, and it is made again with the new values",
  });
}
