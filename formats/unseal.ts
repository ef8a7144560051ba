import { decodeBase64 } from "./base64.ts";
import { SecretError, type ErrorCode } from "./errors.ts";
import { decryptEnvelope } from "./hybrid.ts";
import { readManifests } from "./manifest.ts";
import { encryptionLabel, scopes, targetOf, type Target } from "./scope.ts";
import type { SealedSecret } from "./sealed-secret.ts";
import type { SealingKey } from "./sealing-key.ts";
import { parseSecret, type Metadata, type Secret } from "./secret.ts";

/** What opening a set of items gave. */
export interface OpenedItems {
  /** Entry name to plaintext, for the items that opened. */
  entries: Map<string, Uint8Array>;
  /** Entry name to the fingerprint of the key that opened it. */
  openedBy: Map<string, string>;
  /** Throws one error for all items that did not open. @throws SecretError `CannotUnseal`, `Altered`, `InvalidSealedSecret` */
  requireAll: () => void;
}

/** Why an item did not open, in order of what to report first; the texts are the ones people know and search for. */
const failures = {
  CannotUnseal: "no key could decrypt secret",
  Altered: "the ciphertext was changed after it was sealed",
  InvalidSealedSecret: "illegal base64 data",
} as const satisfies Partial<Record<ErrorCode, string>>;
type Failure = keyof typeof failures;

/**
 * Opens items with the first key that fits each. The key that opened one item is tried first on the next, so that an
 * object under an old key costs one search.
 * @param keys in the order to try
 */
export async function openItems(
  items: Readonly<Record<string, string>>,
  target: Target,
  keys: readonly SealingKey[],
): Promise<OpenedItems> {
  const label = encryptionLabel(target);
  const order = [...keys];
  const entries = new Map<string, Uint8Array>();
  const openedBy = new Map<string, string>();
  const failed = new Map<string, Failure>();
  for (const [entry, item] of Object.entries(items)) {
    const opened = await openItem(item, label, order);
    if (typeof opened === "string") {
      failed.set(entry, opened);
      continue;
    }
    entries.set(entry, opened.value);
    openedBy.set(entry, opened.key.fingerprint);
    order.splice(order.indexOf(opened.key), 1);
    order.unshift(opened.key);
  }
  return { entries, openedBy, requireAll: () => requireAllOpened(failed, entries) };
}

async function openItem(
  item: string,
  label: Uint8Array,
  keys: readonly SealingKey[],
): Promise<{ value: Uint8Array; key: SealingKey } | Failure> {
  const envelope = decodeBase64(item);
  if (envelope === undefined) return "InvalidSealedSecret";
  for (const key of keys) {
    try {
      const value = await decryptEnvelope(key.privateKey, label, envelope);
      if (value !== undefined) return { value, key };
    } catch (error) {
      if (error instanceof SecretError && error.code === "Altered") return "Altered";
      throw error;
    }
  }
  return "CannotUnseal";
}

function requireAllOpened(
  failed: ReadonlyMap<string, Failure>,
  opened: ReadonlyMap<string, Uint8Array>,
): void {
  if (failed.size === 0) return;
  for (const value of opened.values()) value.fill(0);
  const kinds = (Object.keys(failures) as Failure[]).filter((kind) => [...failed.values()].includes(kind));
  const texts = kinds.map((kind) => {
    const names = [...failed].filter(([, failure]) => failure === kind).map(([entry]) => entry);
    return `${failures[kind]} (${names.sort().join(", ")})`;
  });
  const code = kinds[0] ?? "CannotUnseal";
  const hint =
    code === "CannotUnseal"
      ? "sealed for another name, namespace or scope, or by a key that is not here; seal again with this cluster's certificate"
      : "restore the item from Git history, or seal the Secret again";
  throw new SecretError(code, texts.join("; "), { hint });
}

/** A Secret opened from a SealedSecret, and the keys that it took. */
export interface Unsealed {
  secret: Secret;
  /** Fingerprints of the keys that opened items. */
  openedBy: Set<string>;
}

/**
 * Opens a SealedSecret. The Secret takes metadata, type and immutability from the template; its name and namespace are always
 * the SealedSecret's own. `template.data` is not rendered here.
 * @param options `acceptBlob` allows the deprecated `spec.data` form
 * @throws SecretError `CannotUnseal`, `Altered`, `InvalidSealedSecret`
 */
export async function unseal(
  sealed: SealedSecret,
  keys: readonly SealingKey[],
  options: { acceptBlob?: boolean } = {},
): Promise<Unsealed> {
  if (sealed.blob !== undefined) return unsealBlob(sealed, keys, options);
  const opened = await openItems(sealed.encryptedData, targetOf(sealed.metadata), keys);
  opened.requireAll();
  const { metadata, type, immutable } = sealed.template;
  const secret: Secret = {
    metadata: underOwnName(sealed, metadata),
    ...(type === undefined ? {} : { type }),
    ...(immutable === undefined ? {} : { immutable }),
    entries: opened.entries,
  };
  return { secret, openedBy: new Set(opened.openedBy.values()) };
}

/** The metadata with the SealedSecret's name and namespace, absent ones included: a template must not choose them. */
function underOwnName(sealed: SealedSecret, { name: _, namespace: __, ...metadata }: Metadata): Metadata {
  const { name, namespace } = sealed.metadata;
  return {
    ...(name === undefined ? {} : { name }),
    ...(namespace === undefined ? {} : { namespace }),
    ...metadata,
  };
}

const sealAgain = "seal the Secret again: its items then stand under spec.encryptedData";

async function unsealBlob(
  sealed: SealedSecret,
  keys: readonly SealingKey[],
  options: { acceptBlob?: boolean },
): Promise<Unsealed> {
  if (Object.keys(sealed.encryptedData).length > 0) {
    const message = "spec.data and spec.encryptedData cannot be given at the same time";
    throw new SecretError("InvalidSealedSecret", message, { hint: sealAgain });
  }
  if (options.acceptBlob !== true) {
    throw new SecretError("InvalidSealedSecret", "the deprecated 'data' field is not accepted", {
      hint: sealAgain,
    });
  }
  const opened = await openItems({ data: sealed.blob ?? "" }, targetOf(sealed.metadata), keys);
  opened.requireAll();
  const inner = parseBlob(opened.entries.get("data") ?? new Uint8Array());
  return {
    secret: { ...inner, metadata: underOwnName(sealed, inner.metadata) },
    openedBy: new Set(opened.openedBy.values()),
  };
}

/** All of it was sealed, kind and entry names too: an error may not repeat what a parser says of it. */
function parseBlob(bytes: Uint8Array): Secret {
  try {
    const [manifest] = readManifests(bytes);
    if (manifest !== undefined) {
      return parseSecret({ ...manifest, object: { apiVersion: "v1", kind: "Secret", ...manifest.object } });
    }
  } catch {
    // Told below, as where it holds nothing at all.
  }
  throw new SecretError("InvalidSealedSecret", "spec.data holds no Secret", { hint: sealAgain });
}

/**
 * Finds out why items do not open, where the keys can tell: the scope that the first of them was really sealed for.
 * Costs up to three RSA operations a key. Not for answers to strangers.
 * @returns the other scope, or `undefined` where no key opens it under any
 */
export async function sealedScope(
  sealed: SealedSecret,
  keys: readonly SealingKey[],
): Promise<(typeof scopes)[number] | undefined> {
  const target = targetOf(sealed.metadata);
  const [item] = Object.values(sealed.encryptedData);
  if (item === undefined) return undefined;
  for (const scope of scopes.filter((other) => other !== target.scope)) {
    if (scope === "strict" && (target.namespace === undefined || target.name === undefined)) continue;
    if (scope === "namespace-wide" && target.namespace === undefined) continue;
    const opened = await openItem(item, encryptionLabel({ ...target, scope }), keys);
    if (typeof opened === "object") {
      opened.value.fill(0);
      return scope;
    }
  }
  return undefined;
}
