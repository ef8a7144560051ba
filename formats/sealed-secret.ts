import { SecretError } from "./errors.ts";
import { booleanField, isObject, stringField, type JsonObject, type Manifest } from "./manifest.ts";
import { orderedMetadata, parseMetadata, type Metadata } from "./secret.ts";

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
 * @throws SecretError `InvalidSealedSecret` for another kind, a missing spec, or what should be a map and is not;
 * `InvalidSecret` for other fields of a wrong type
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
  const items = Object.entries(optionalMap(spec, "encryptedData", manifest.place) ?? {});
  const blob = stringField(manifest, ["spec", "data"]) ?? "";
  return {
    metadata: parseMetadata(manifest, ["metadata"]),
    template: parseTemplate(manifest, optionalMap(spec, "template", manifest.place)),
    encryptedData: Object.fromEntries(
      items.map(([name, value]) => [name, typeof value === "string" ? value : ""]),
    ),
    ...(blob === "" ? {} : { blob }),
  };
}

function optionalMap(parent: JsonObject, field: string, place: string): JsonObject | undefined {
  const value = parent[field] ?? undefined;
  if (value === undefined || isObject(value)) return value;
  throw new SecretError("InvalidSealedSecret", `${field} in ${place} is not a map`, {
    hint: "give SealedSecrets, as `sealwright seal` writes them",
  });
}

function parseTemplate(manifest: Manifest, template: JsonObject | undefined): SecretTemplate {
  if (template === undefined) return { metadata: {} };
  const path = ["spec", "template"];
  const type = stringField(manifest, [...path, "type"]) ?? "";
  const immutable = booleanField(manifest, [...path, "immutable"]);
  const data = optionalMap(template, "data", manifest.place);
  return {
    metadata: parseMetadata(manifest, [...path, "metadata"]),
    ...(type === "" ? {} : { type }),
    ...(immutable === undefined ? {} : { immutable }),
    ...(data === undefined ? {} : { data }),
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
