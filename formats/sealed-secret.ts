import { SecretError } from "./errors.ts";
import { isObject, type JsonObject, type Manifest } from "./manifest.ts";
import { parseMetadata, type Metadata } from "./secret.ts";

/** API group, version and kind of a SealedSecret. */
export const sealedSecretKind = { apiVersion: "bitnami.com/v1alpha1", kind: "SealedSecret" } as const;

/** What the Secret made of a SealedSecret looks like, but for its entries. */
export interface SecretTemplate {
  metadata: Metadata;
  type?: string;
  immutable?: boolean;
  /** Go templates over the opened entries. Not authenticated: never rendered outside the reconciler. */
  data?: Record<string, unknown>;
}

/** A `bitnami.com/v1alpha1` SealedSecret. */
export interface SealedSecret {
  metadata: Metadata;
  template: SecretTemplate;
  /** Entry name to base64 of its envelope. */
  encryptedData: Record<string, string>;
  /** The deprecated form: base64 of one envelope that holds a whole Secret as JSON. */
  blob?: string;
}

/**
 * Reads a SealedSecret. An item that is not text becomes the empty string, as upstream reads it, and then opens under no key.
 * @throws SecretError `InvalidSealedSecret` for another kind or a missing spec
 */
export function parseSealedSecret(manifest: Manifest): SealedSecret {
  const { apiVersion, kind, spec } = manifest.object;
  if (apiVersion !== sealedSecretKind.apiVersion || kind !== sealedSecretKind.kind || !isObject(spec)) {
    const found = typeof kind === "string" ? `a ${kind}` : "an object without kind";
    throw new SecretError(
      "InvalidSealedSecret",
      `${manifest.place} is ${found}, not a ${sealedSecretKind.apiVersion} SealedSecret`,
      {
        hint: "give SealedSecrets, as `sealwright seal` writes them",
      },
    );
  }
  const items = isObject(spec["encryptedData"]) ? Object.entries(spec["encryptedData"]) : [];
  return {
    metadata: parseMetadata(manifest, ["metadata"]),
    template: parseTemplate(manifest, spec["template"]),
    encryptedData: Object.fromEntries(
      items.map(([name, value]) => [name, typeof value === "string" ? value : ""]),
    ),
    ...(typeof spec["data"] === "string" && spec["data"] !== "" ? { blob: spec["data"] } : {}),
  };
}

function parseTemplate(manifest: Manifest, template: unknown): SecretTemplate {
  if (!isObject(template)) return { metadata: {} };
  const { type, immutable, data } = template;
  return {
    metadata: parseMetadata(manifest, ["spec", "template", "metadata"]),
    ...(typeof type === "string" && type !== "" ? { type } : {}),
    ...(typeof immutable === "boolean" ? { immutable } : {}),
    ...(isObject(data) ? { data } : {}),
  };
}

/** Writes a SealedSecret in the field order of the upstream encoder, items in order of their names. */
export function sealedSecretManifest(sealed: SealedSecret): JsonObject {
  const names = Object.keys(sealed.encryptedData).sort();
  const { metadata, type, immutable, data } = sealed.template;
  return {
    kind: sealedSecretKind.kind,
    apiVersion: sealedSecretKind.apiVersion,
    metadata: orderedMetadata(sealed.metadata),
    spec: {
      template: {
        metadata: orderedMetadata(metadata),
        ...(type === undefined ? {} : { type }),
        ...(immutable === undefined ? {} : { immutable }),
        ...(data === undefined ? {} : { data }),
      },
      ...(sealed.blob === undefined ? {} : { data: sealed.blob }),
      encryptedData: Object.fromEntries(names.map((name) => [name, sealed.encryptedData[name]])),
    },
  };
}

function orderedMetadata({ name, generateName, namespace, ...rest }: Metadata): Metadata {
  const first = Object.entries({ name, generateName, namespace }).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(first), ...rest };
}
