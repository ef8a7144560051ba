import { hasGeneration, hasStatus, normaliseObject } from "./kinds.ts";
import { equal, field, metadataOf, textAt, withMetadata, without, type JsonObject } from "./objects.ts";
import type { Resource } from "./resources.ts";
import { conflict } from "./status.ts";

/** The object that a request is about. */
export interface Target {
  resource: Resource;
  namespace: string | undefined;
  /** Empty on create. */
  name: string;
  subresource?: string | undefined;
}

/** How a write is to be done. */
export interface WriteOptions {
  /** Field manager, at most 128 characters. */
  manager: string;
  dryRun: boolean;
  /** What to do about fields that no schema declares. */
  fieldValidation: "Ignore" | "Warn" | "Strict";
  /** Messages for `Warning` headers are pushed here. */
  warnings: string[];
}

/** What a deletion asks for. */
export interface DeleteOptions {
  uid?: string | undefined;
  resourceVersion?: string | undefined;
  propagation?: "Orphan" | "Background" | "Foreground" | undefined;
  dryRun: boolean;
}

/** Fields of metadata that clients cannot change. */
const serverFields = [
  "uid",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "generation",
  "selfLink",
  "generateName",
];

/** Applied Secrets own the canonical form of what they say, without the defaults that they leave out. */
export function normaliseIntent(resource: Resource, intent: JsonObject, sent: JsonObject): JsonObject {
  if (resource.kind !== "Secret") return intent;
  const normal = normaliseObject(resource, intent);
  return field(sent, "type") === undefined ? without(normal, "type") : normal;
}

/** Optimistic locking: uid and resourceVersion, where given, are the stored ones. @throws 409 */
export function checkVersion({ resource, name }: Target, before: JsonObject, incoming: JsonObject): void {
  const metadata = metadataOf(incoming);
  const uid = textAt(metadata, "uid");
  const current = textAt(metadataOf(before), "uid") ?? "";
  if (uid !== undefined && uid !== current) {
    throw conflict(
      resource,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${current}`,
    );
  }
  const version = textAt(metadata, "resourceVersion");
  if (version !== undefined && version !== "0" && version !== textAt(metadataOf(before), "resourceVersion")) {
    throw conflict(resource, name);
  }
}

/** The incoming object with everything that this write may not touch taken from the stored one. */
export function carriedOver(
  { resource, subresource, name }: Target,
  before: JsonObject,
  incoming: JsonObject,
): JsonObject {
  if (subresource === "status") {
    const status = field(incoming, "status");
    return status === undefined ? without(before, "status") : { ...before, status };
  }
  const old = metadataOf(before);
  const metadata = without(metadataOf(incoming), ...serverFields, "resourceVersion");
  for (const key of [...serverFields, "resourceVersion"]) {
    const value = field(old, key);
    if (value !== undefined) metadata[key] = value;
  }
  metadata["name"] = name;
  const next: JsonObject = { ...incoming, metadata };
  if (!hasStatus(resource)) return next;
  const status = field(before, "status");
  return status === undefined ? without(next, "status") : { ...next, status };
}

/** Counts changes of what the user asks for, not of metadata or status. */
export function withGeneration(resource: Resource, before: JsonObject, after: JsonObject): JsonObject {
  if (!hasGeneration(resource)) return after;
  const counted = (object: JsonObject): JsonObject =>
    hasStatus(resource) ? without(object, "metadata", "status") : without(object, "metadata");
  if (equal(counted(before), counted(after))) return after;
  return withMetadata(after, { generation: Number(metadataOf(before)["generation"] ?? 0) + 1 });
}

/** What a deletion insists on. @throws 409 */
export function checkPreconditions(
  { resource, name }: Target,
  object: JsonObject,
  options: DeleteOptions,
): void {
  const metadata = metadataOf(object);
  const differs = (what: string, wanted: string | undefined, actual: string | undefined): void => {
    if (wanted === undefined || wanted === actual) return;
    const why = `the ${what} in the precondition (${wanted}) does not match the ${what} in record (${actual ?? ""}). The object might have been`;
    const how = what === "UID" ? "deleted and then recreated" : "modified";
    throw conflict(resource, name, `${why} ${how}`);
  };
  differs("UID", options.uid, textAt(metadata, "uid"));
  differs("ResourceVersion", options.resourceVersion, textAt(metadata, "resourceVersion"));
}
