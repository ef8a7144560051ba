import { isDeepStrictEqual } from "node:util";

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | JsonObject;

/** A JSON object; Kubernetes objects are kept as they came, so that no field of a client gets lost. */
export interface JsonObject {
  [key: string]: Json;
}

/** Whether a value is a JSON object (not null, not a list). */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The object's own field. Keys come from clients: `constructor` must not find `Object.prototype`'s. */
export function field(object: JsonObject | undefined, key: string): Json | undefined {
  return object !== undefined && Object.hasOwn(object, key) ? object[key] : undefined;
}

/** Sets an own field, also when it is called `__proto__`, which is a valid key of a Secret. */
export function setField(object: JsonObject, key: string, value: Json): void {
  if (key === "__proto__") {
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  } else {
    object[key] = value;
  }
}

/** A shallow copy without the given keys. */
export function without(object: JsonObject, ...keys: string[]): JsonObject {
  const copy = { ...object };
  for (const key of keys) Reflect.deleteProperty(copy, key);
  return copy;
}

/** The field if it is an object. */
export function objectAt(object: JsonObject | undefined, key: string): JsonObject | undefined {
  const value = field(object, key);
  return isObject(value) ? value : undefined;
}

/** The field if it is a string. */
export function textAt(object: JsonObject | undefined, key: string): string | undefined {
  const value = field(object, key);
  return typeof value === "string" ? value : undefined;
}

/** The field if it is a list, else an empty list. */
export function listAt(object: JsonObject | undefined, key: string): Json[] {
  const value = field(object, key);
  return Array.isArray(value) ? value : [];
}

/** The objects of a list field. */
export function objectsAt(object: JsonObject | undefined, key: string): JsonObject[] {
  return listAt(object, key).filter(isObject);
}

/** The strings of a list field. */
export function textsAt(object: JsonObject | undefined, key: string): string[] {
  return listAt(object, key).filter((entry) => typeof entry === "string");
}

/** `metadata`, or an empty object. */
export function metadataOf(object: JsonObject): JsonObject {
  return objectAt(object, "metadata") ?? {};
}

/** `metadata.name`, empty if absent. */
export function nameOf(object: JsonObject): string {
  return textAt(metadataOf(object), "name") ?? "";
}

/** `metadata.namespace`, undefined for objects of the whole cluster. */
export function namespaceOf(object: JsonObject): string | undefined {
  return textAt(metadataOf(object), "namespace") ?? undefined;
}

/** `metadata.uid`, empty if absent. */
export function uidOf(object: JsonObject): string {
  return textAt(metadataOf(object), "uid") ?? "";
}

/** `metadata.finalizers`. */
export function finalizersOf(object: JsonObject): string[] {
  return textsAt(metadataOf(object), "finalizers");
}

/** Whether deletion was asked for and finalizers are still to run. */
export function isDeleting(object: JsonObject): boolean {
  return textAt(metadataOf(object), "deletionTimestamp") !== undefined;
}

/** A copy with some metadata fields set. */
export function withMetadata(object: JsonObject, fields: JsonObject): JsonObject {
  return { ...object, metadata: { ...metadataOf(object), ...fields } };
}

/** Deep equality; the order of keys does not matter. */
export function equal(a: Json | undefined, b: Json | undefined): boolean {
  return isDeepStrictEqual(a, b);
}

/** metav1.Time: RFC 3339 in UTC, whole seconds. */
export function timestamp(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}
