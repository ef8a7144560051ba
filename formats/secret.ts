import { decodeBase64, encodeBase64 } from "./base64.ts";
import { SecretError } from "./errors.ts";
import {
  booleanField,
  isObject,
  stringField,
  stringMapField,
  type JsonObject,
  type Manifest,
} from "./manifest.ts";

/** The parts of a Kubernetes ObjectMeta that Sealwright reads; every other field is carried along untouched. */
export interface Metadata extends JsonObject {
  name?: string;
  namespace?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

/** A Kubernetes Secret with its entries as bytes. */
export interface Secret {
  metadata: Metadata;
  /** `undefined` where the manifest names none; the API server then takes `Opaque`. */
  type?: string;
  immutable?: boolean;
  /** Entry name to value; `stringData` already merged over `data`. */
  entries: Map<string, Uint8Array>;
}

const entryName = /^[-._a-zA-Z0-9]{1,253}$/;

/**
 * Reads a v1 Secret.
 * @throws SecretError `InvalidSecret` for another kind, wrong types, base64 that does not decode, or entry names Kubernetes refuses
 */
export function parseSecret(manifest: Manifest): Secret {
  const { kind, apiVersion } = manifest.object;
  if (kind !== "Secret" || (apiVersion !== undefined && apiVersion !== "v1")) {
    const found = typeof kind === "string" ? `a ${kind}` : "an object without kind";
    throw new SecretError("InvalidSecret", `${manifest.place} is ${found}, not a v1 Secret`, {
      hint: "only Secrets are sealed; remove the other documents from the input",
    });
  }
  const type = stringField(manifest, ["type"]);
  const immutable = booleanField(manifest, ["immutable"]);
  return {
    metadata: parseMetadata(manifest, ["metadata"]),
    ...(type === undefined ? {} : { type }),
    ...(immutable === undefined ? {} : { immutable }),
    entries: parseEntries(manifest),
  };
}

/** Reads an ObjectMeta, holding its string fields to strings. @throws SecretError `InvalidSecret` */
export function parseMetadata(manifest: Manifest, path: readonly string[]): Metadata {
  const found = path.reduce<unknown>(
    (value, key) => (isObject(value) ? value[key] : undefined),
    manifest.object,
  );
  const metadata: Metadata = isObject(found) ? structuredClone(found) : {};
  for (const field of ["name", "namespace"] as const) {
    const value = stringField(manifest, [...path, field]);
    if (value === undefined || value === "") Reflect.deleteProperty(metadata, field);
    else metadata[field] = value;
  }
  for (const field of ["labels", "annotations"] as const) {
    const value = stringMapField(manifest, [...path, field]);
    if (value === undefined) Reflect.deleteProperty(metadata, field);
    else metadata[field] = value;
  }
  return metadata;
}

function parseEntries(manifest: Manifest): Map<string, Uint8Array> {
  const entries = new Map<string, Uint8Array>();
  for (const [name, text] of Object.entries(stringMapField(manifest, ["data"]) ?? {})) {
    const value = decodeBase64(text);
    if (value === undefined) {
      throw new SecretError("InvalidSecret", `data.${name} in ${manifest.place} is not valid base64`, {
        hint: "encode the value, or move it to `stringData` as plain text",
      });
    }
    entries.set(name, value);
  }
  for (const [name, text] of Object.entries(stringMapField(manifest, ["stringData"]) ?? {})) {
    if (!text.isWellFormed()) {
      throw new SecretError("InvalidSecret", `stringData.${name} in ${manifest.place} is not valid Unicode`, {
        hint: "it holds half of a surrogate pair; move the value to `data`, base64-encoded",
      });
    }
    entries.set(name, Buffer.from(text, "utf8"));
  }
  for (const name of entries.keys()) requireEntryName(name, manifest.place);
  return entries;
}

function requireEntryName(name: string, place: string): void {
  if (entryName.test(name) && name !== "." && !name.startsWith("..")) return;
  throw new SecretError(
    "InvalidSecret",
    `${place} has an entry name that Kubernetes refuses: ${JSON.stringify(name)}`,
    {
      hint: "entry names hold letters, digits, `-`, `_` and `.`, at most 253 of them",
    },
  );
}

/** The metadata in the field order of Kubernetes' own encoder, maps in order of their keys. */
export function orderedMetadata(metadata: Metadata): Metadata {
  const {
    name,
    generateName,
    namespace,
    labels,
    annotations,
    ownerReferences,
    finalizers,
    managedFields,
    ...rest
  } = metadata;
  const ordered = {
    ...{ name, generateName, namespace, ...rest },
    ...{ labels: sortedByKey(labels), annotations: sortedByKey(annotations) },
    ...{ ownerReferences, finalizers, managedFields },
  };
  return Object.fromEntries(Object.entries(ordered).filter(([, value]) => value !== undefined));
}

function sortedByKey(map: Record<string, string> | undefined): Record<string, string> | undefined {
  if (map === undefined) return undefined;
  return Object.fromEntries(Object.entries(map).sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** Writes a Secret as a v1 manifest, entries under `data` in order of their names. */
export function secretManifest(secret: Secret): JsonObject {
  const names = [...secret.entries.keys()].sort();
  const data = Object.fromEntries(
    names.map((name) => [name, encodeBase64(secret.entries.get(name) ?? new Uint8Array())]),
  );
  return {
    kind: "Secret",
    apiVersion: "v1",
    metadata: orderedMetadata(secret.metadata),
    ...(secret.immutable === undefined ? {} : { immutable: secret.immutable }),
    data,
    ...(secret.type === undefined ? {} : { type: secret.type }),
  };
}
