import { asSecretError, SecretError } from "../formats/errors.ts";
import { decodeBase64, encodeBase64 } from "../formats/base64.ts";
import { issueKey } from "../formats/issue-key.ts";
import { annotationPrefix } from "../formats/scope.ts";
import { parseCertificate, type SealingCertificate } from "../formats/sealing-certificate.ts";
import { parsePrivateKey, type SealingKey } from "../formats/sealing-key.ts";
import { secrets, type Kube, type KubeObject } from "./kube-api.ts";

/** The label by which the controller knows its key Secrets; only the value `active` loads one. */
export const keyLabel = `${annotationPrefix}sealed-secrets-key`;

/** By what the newest key is told; upstream's names. */
export type KeyOrder = "CertNotBefore" | "SecretCreationTimestamp";

/** How sealing keys are made and ordered; see `docs/operations.md`. */
export interface KeyPolicy {
  /** The controller's own namespace, where key Secrets live. */
  namespace: string;
  /** Name prefix of new key Secrets, and whole name of a legacy one. */
  prefix: string;
  /** Modulus length. */
  bits: number;
  /** Validity of a new certificate. */
  ttlMs: number;
  /** Age at which the newest key is followed by a new one; 0: never. */
  renewPeriodMs: number;
  /** A newest key from before this moment is followed by a new one at start. */
  cutoff: Date | undefined;
  order: KeyOrder;
  commonName: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

/** A newest key dated further ahead was made by a clock that was wrong, and is not to be outdone. */
const closeMs = 60_000;

interface RegisteredKey {
  secretName: string;
  key: SealingKey;
  certificate: SealingCertificate;
  /** What the order goes by. */
  orderedAt: Date;
}

/** What a change of the key set means for the objects sealed to it. */
export interface KeyChange {
  added: string[];
  removed: string[];
}

/** The cluster's sealing keys, newest first, as its key Secrets say. A key is in here only once it is stored. */
export class SealingKeys {
  readonly #kube: Kube;
  readonly #policy: KeyPolicy;
  readonly #now: () => Date;
  #registered: RegisteredKey[] = [];
  #uses = 0;
  /** Fingerprint to the number of the use; keys are few and never forgotten. */
  readonly #lastUse = new Map<string, number>();
  #renewing: Promise<void> | undefined;

  constructor(kube: Kube, policy: KeyPolicy, now: () => Date) {
    this.#kube = kube;
    this.#policy = policy;
    this.#now = now;
  }

  /** The certificate that new secrets are sealed to; `undefined` while there is no key. */
  get certificate(): SealingCertificate | undefined {
    return this.#registered[0]?.certificate;
  }

  /** Name of the key Secret that {@link certificate} is from. */
  get newestSecret(): string | undefined {
    return this.#registered[0]?.secretName;
  }

  /**
   * All keys in the order to try: those named in `hints` (fingerprints), the newest, then the others, the last used first.
   * Where many objects are under one old key, only the first of them costs a search.
   */
  ordered(hints: ReadonlySet<string> = new Set()): SealingKey[] {
    const [newest, ...others] = this.#registered.map(({ key }) => key);
    if (newest === undefined) return [];
    const use = ({ fingerprint }: SealingKey): number => this.#lastUse.get(fingerprint) ?? 0;
    const keys = [newest, ...others.sort((left, right) => use(right) - use(left))];
    const isHinted = ({ fingerprint }: SealingKey): boolean => hints.has(fingerprint);
    return [...keys.filter(isHinted), ...keys.filter((key) => !isHinted(key))];
  }

  /** Remembers which keys have just opened something. @param fingerprints of the keys */
  used(fingerprints: Iterable<string>): void {
    this.#uses += 1;
    for (const fingerprint of fingerprints) this.#lastUse.set(fingerprint, this.#uses);
  }

  /**
   * Takes a key Secret in, or again after a change.
   * @returns what changed; `undefined` where nothing did
   * @throws SecretError `InvalidKey` or `InvalidCertificate` where the Secret is malformed; it is then not registered
   */
  async register(secret: KubeObject): Promise<KeyChange | undefined> {
    const name = secret.metadata.name;
    let registered: RegisteredKey;
    try {
      registered = await this.#read(secret);
    } catch (error) {
      this.remove(name);
      throw error;
    }
    const before = this.#registered.find(({ secretName }) => secretName === name);
    if (
      before?.certificate.pem === registered.certificate.pem &&
      before.key.fingerprint === registered.key.fingerprint
    )
      return undefined;
    this.#registered = [...this.#registered.filter((other) => other !== before), registered].sort(
      newestFirst,
    );
    return {
      added: [registered.key.fingerprint],
      removed: before === undefined ? [] : [before.key.fingerprint],
    };
  }

  /** Drops a key whose Secret was deleted or relabelled. @returns what changed; `undefined` where it was not known */
  remove(secretName: string): KeyChange | undefined {
    const gone = this.#registered.find((registered) => registered.secretName === secretName);
    if (gone === undefined) return undefined;
    this.#registered = this.#registered.filter((registered) => registered !== gone);
    return { added: [], removed: [gone.key.fingerprint] };
  }

  /**
   * Makes a new key if the policy asks for one now.
   * @throws SecretError as {@link Kube} where it cannot be stored; the old key then stays in use
   */
  async renewIfDue(): Promise<boolean> {
    if (!this.#isDue()) return false;
    await this.renew();
    return true;
  }

  /** Makes, stores and then registers a new key. Concurrent calls make one. @throws SecretError as {@link Kube} */
  renew(): Promise<void> {
    this.#renewing ??= this.#issue().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  #isDue(): boolean {
    const newest = this.#registered[0];
    if (newest === undefined) return true;
    const { cutoff, renewPeriodMs } = this.#policy;
    if (cutoff !== undefined && newest.orderedAt < cutoff && cutoff <= this.#now()) return true;
    return renewPeriodMs > 0 && this.#now().getTime() >= newest.orderedAt.getTime() + renewPeriodMs;
  }

  async #issue(): Promise<void> {
    const { bits, commonName, ttlMs } = this.#policy;
    const notBefore = this.#laterThanNewest(this.#now());
    const issued = await issueKey({ bits, commonName, notBefore, ttlSeconds: Math.floor(ttlMs / 1000) });
    await this.register(await this.#kube.create(secrets, this.#keySecret(issued)));
  }

  /** Certificates count whole seconds: a key made within the same one as the newest would not be newer than that. */
  #laterThanNewest(now: Date): Date {
    const newest = this.certificate?.notBefore.getTime() ?? -Infinity;
    const aheadMs = newest - Math.floor(now.getTime() / 1000) * 1000;
    return aheadMs >= 0 && aheadMs < closeMs ? new Date(newest + 1000) : now;
  }

  #keySecret({
    privateKeyPem,
    certificatePem,
  }: {
    privateKeyPem: string;
    certificatePem: string;
  }): KubeObject {
    const { namespace, prefix, labels, annotations } = this.#policy;
    return {
      apiVersion: "v1",
      kind: "Secret",
      // The API server fills the name in; the generated one keeps keys of one prefix together.
      metadata: {
        name: "",
        generateName: prefix,
        namespace,
        labels: { ...labels, [keyLabel]: "active" },
        annotations,
      },
      type: "kubernetes.io/tls",
      data: {
        "tls.crt": encodeBase64(Buffer.from(certificatePem)),
        "tls.key": encodeBase64(Buffer.from(privateKeyPem)),
      },
    };
  }

  async #read(secret: KubeObject): Promise<RegisteredKey> {
    const { name, creationTimestamp } = secret.metadata;
    try {
      const certificate = parseCertificate(textEntry(secret, "tls.crt"));
      const key = await parsePrivateKey(textEntry(secret, "tls.key"));
      if (key.fingerprint !== certificate.fingerprint)
        throw new SecretError("InvalidKey", "key and certificate differ");
      const created = this.#policy.order === "SecretCreationTimestamp" && creationTimestamp !== undefined;
      return {
        secretName: name,
        key,
        certificate,
        orderedAt: created ? new Date(creationTimestamp) : certificate.notBefore,
      };
    } catch (thrown) {
      const { code, cause } = asSecretError(thrown);
      throw new SecretError(code, `key Secret ${name} is malformed and skipped`, {
        cause,
        hint: "it needs tls.key (RSA, PEM) and tls.crt (its certificate); mend it, or take its label away",
      });
    }
  }
}

function newestFirst(left: RegisteredKey, right: RegisteredKey): number {
  const byOrder = right.orderedAt.getTime() - left.orderedAt.getTime();
  return byOrder !== 0
    ? byOrder
    : right.certificate.notBefore.getTime() - left.certificate.notBefore.getTime();
}

function textEntry(secret: KubeObject, name: string): string {
  const data = (secret["data"] ?? {}) as Record<string, unknown>;
  const encoded = data[name];
  const bytes = typeof encoded === "string" ? decodeBase64(encoded) : undefined;
  if (bytes === undefined) throw new SecretError("InvalidKey", `${name} is missing`);
  return Buffer.from(bytes).toString("latin1");
}
