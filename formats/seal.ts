import { encodeBase64 } from "./base64.ts";
import { encryptEnvelope } from "./hybrid.ts";
import { encryptionLabel, scopeOf, targetOf, withScope, type Target } from "./scope.ts";
import type { SealedSecret, SecretTemplate } from "./sealed-secret.ts";
import type { SealingCertificate } from "./sealing-certificate.ts";
import type { SealingKey } from "./sealing-key.ts";
import type { Metadata, Secret } from "./secret.ts";
import { openItems } from "./unseal.ts";

/** Fields that describe one live object, not what it should be. */
const liveFields = [
  "selfLink",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "ownerReferences",
];
/** Annotations in which tools keep a copy of the whole manifest, plaintext included. */
const copyAnnotations = [
  "kubectl.kubernetes.io/last-applied-configuration",
  "kubecfg.ksonnet.io/last-applied-configuration",
];

/** What sealing may be told besides the Secret. */
export interface SealOptions {
  certificate: SealingCertificate;
  /** A SealedSecret made before, and the private keys that open it: items whose plaintext is equal keep their ciphertext. */
  previous?: { sealed: SealedSecret; keys: readonly SealingKey[] } | undefined;
}

/**
 * Seals a Secret. The scope is read from the Secret's own annotations.
 * @throws SecretError `InvalidSecret` where name or namespace are missing for the scope
 * @see docs/formats/sealed-secret.md
 */
export async function seal(secret: Secret, { certificate, previous }: SealOptions): Promise<SealedSecret> {
  const template = templateOf(secret);
  const { name, namespace } = secret.metadata;
  const scopeAnnotations = withScope(undefined, scopeOf(secret.metadata));
  const metadata: Metadata = {
    ...(name === undefined ? {} : { name }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(Object.keys(scopeAnnotations).length === 0 ? {} : { annotations: scopeAnnotations }),
  };
  const target = targetOf(metadata);
  const kept =
    previous === undefined
      ? new Map<string, string>()
      : await unchangedItems(secret, { target, certificate, previous });
  const items = new Map<string, string>();
  for (const [entry, value] of secret.entries) {
    items.set(entry, kept.get(entry) ?? sealItem(value, target, certificate));
  }
  return { metadata, template, encryptedData: Object.fromEntries(items) };
}

/**
 * Seals one value for a target.
 * @returns base64 of its envelope
 * @throws SecretError `InvalidSecret` where the target lacks what its scope needs
 */
export function sealItem(value: Uint8Array, target: Target, certificate: SealingCertificate): string {
  return encodeBase64(encryptEnvelope(certificate.publicKey, encryptionLabel(target), value));
}

/** The template that carries a Secret's metadata, type and immutability, without what describes one live object. */
export function templateOf({ metadata, type, immutable }: Secret): SecretTemplate {
  const kept = Object.entries(metadata).filter(([field]) => !liveFields.includes(field));
  const template: Metadata = Object.fromEntries(kept);
  if (template.annotations !== undefined) {
    const annotations = Object.entries(template.annotations).filter(
      ([name]) => !copyAnnotations.includes(name),
    );
    if (annotations.length > 0) template.annotations = Object.fromEntries(annotations);
    else delete template.annotations;
  }
  return {
    metadata: template,
    ...(type === undefined ? {} : { type }),
    ...(immutable === undefined ? {} : { immutable }),
  };
}

/** Items of `previous` that hold the same plaintext for the same target under the certificate's own key. */
async function unchangedItems(
  secret: Secret,
  wanted: { target: Target; certificate: SealingCertificate; previous: NonNullable<SealOptions["previous"]> },
): Promise<Map<string, string>> {
  const { sealed, keys } = wanted.previous;
  const current = keys.filter((key) => key.fingerprint === wanted.certificate.fingerprint);
  const { entries } = await openItems(sealed.encryptedData, wanted.target, current);
  const kept = new Map<string, string>();
  for (const [entry, value] of entries) {
    const item = sealed.encryptedData[entry];
    if (
      item !== undefined &&
      Buffer.compare(value, secret.entries.get(entry) ?? Buffer.alloc(0)) === 0 &&
      secret.entries.has(entry)
    ) {
      kept.set(entry, item);
    }
    value.fill(0);
  }
  return kept;
}

/**
 * Re-encrypts every item to a certificate, for the same target. Metadata and template are kept as they are: the template is
 * neither rendered nor consulted for the scope.
 * @param options `keepCurrent` leaves items alone that the certificate's own key opens
 * @throws SecretError `CannotUnseal`, `Altered` or `InvalidSealedSecret` where an item does not open
 */
export async function reseal(
  sealed: SealedSecret,
  keys: readonly SealingKey[],
  options: { certificate: SealingCertificate; keepCurrent?: boolean },
): Promise<SealedSecret> {
  const target = targetOf(sealed.metadata);
  const opened = await openItems(sealed.encryptedData, target, keys);
  opened.requireAll();
  const items = new Map<string, string>();
  for (const [entry, value] of opened.entries) {
    const current =
      options.keepCurrent === true && opened.openedBy.get(entry) === options.certificate.fingerprint;
    const kept = current ? sealed.encryptedData[entry] : undefined;
    items.set(entry, kept ?? sealItem(value, target, options.certificate));
    value.fill(0);
  }
  return { ...sealed, encryptedData: Object.fromEntries(items) };
}
