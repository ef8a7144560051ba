import { invalidValue, notAllowed, tooLong } from "./field-errors.ts";
import {
  field,
  finalizersOf,
  isDeleting,
  isObject,
  metadataOf,
  objectAt,
  objectsAt,
  textAt,
  textsAt,
  type JsonObject,
} from "./objects.ts";
import type { Resource } from "./resources.ts";
import { badRequest, type Cause } from "./status.ts";

const label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const labelName = new RegExp(`^${label}$`);
const subdomain = new RegExp(`^${label}(\\.${label})*$`);
const qualifiedPart = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const annotationsLimit = 256 * 1024;

const standardFinalizers = new Set(["orphan", "foregroundDeletion", "kubernetes"]);

const labelText =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const subdomainText =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const service = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const serviceText =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const qualifiedText =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const labelValueText =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

function nameErrors(resource: Resource, name: string): Cause[] {
  const at = "metadata.name";
  if (resource.kind === "Namespace") {
    if (name.length > 63) return [invalidValue(at, name, "must be no more than 63 bytes")];
    return labelName.test(name) ? [] : [invalidValue(at, name, labelText)];
  }
  if (resource.kind === "Service") return service.test(name) ? [] : [invalidValue(at, name, serviceText)];
  if (name.length > 253) return [invalidValue(at, name, "must be no more than 253 bytes")];
  return subdomain.test(name) ? [] : [invalidValue(at, name, subdomainText)];
}

function qualifiedErrors(at: string, key: string): Cause[] {
  const [name = "", prefix, extra] = key.split("/").toReversed();
  if (extra !== undefined || (prefix !== undefined && !subdomain.test(prefix))) {
    return [invalidValue(at, key, `prefix part ${subdomainText}`)];
  }
  if (name.length > 63) return [invalidValue(at, key, "name part must be no more than 63 bytes")];
  return qualifiedPart.test(name) ? [] : [invalidValue(at, key, qualifiedText)];
}

function labelErrors(labels: JsonObject): Cause[] {
  const at = "metadata.labels";
  return Object.entries(labels).flatMap(([key, value]) => {
    const errors = qualifiedErrors(at, key);
    if (typeof value !== "string") return errors;
    if (value.length > 63) return [...errors, invalidValue(at, value, "must be no more than 63 bytes")];
    if (value !== "" && !qualifiedPart.test(value)) errors.push(invalidValue(at, value, labelValueText));
    return errors;
  });
}

function annotationErrors(annotations: JsonObject): Cause[] {
  const at = "metadata.annotations";
  const errors = Object.keys(annotations).flatMap((key) => qualifiedErrors(at, key.toLowerCase()));
  const sizes = Object.entries(annotations).map(
    ([key, value]) => Buffer.byteLength(key) + Buffer.byteLength(typeof value === "string" ? value : ""),
  );
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total > annotationsLimit) errors.push(tooLong(at, annotationsLimit));
  return errors;
}

function ownerErrors(metadata: JsonObject): Cause[] {
  const owners = objectsAt(metadata, "ownerReferences");
  const errors = owners.flatMap((owner) => {
    const missing = ["apiVersion", "kind", "name", "uid"].filter((key) => (textAt(owner, key) ?? "") === "");
    return missing.map((key) => {
      const why = key === "apiVersion" ? "version must not be empty" : "must not be empty";
      return invalidValue(`metadata.ownerReferences.${key}`, "", why);
    });
  });
  if (owners.filter((owner) => field(owner, "controller") === true).length > 1) {
    const why = "Only one reference can have Controller set to true.";
    errors.push(invalidValue("metadata.ownerReferences", owners, why));
  }
  return errors;
}

/** Kinds of the core demand a slash in a finalizer's name; custom ones do not. */
function finalizerErrors(resource: Resource, metadata: JsonObject): Cause[] {
  if (resource.custom !== undefined || resource.kind === "CustomResourceDefinition") return [];
  const at = "metadata.finalizers";
  const why = "name is neither a standard finalizer name nor is it fully qualified";
  return textsAt(metadata, "finalizers")
    .filter((name) => !name.includes("/") && !standardFinalizers.has(name))
    .map((name) => invalidValue(at, name, why));
}

/** The rules of ObjectMeta that hold for every kind. */
export function metadataErrors(resource: Resource, object: JsonObject): Cause[] {
  const metadata = metadataOf(object);
  return [
    ...nameErrors(resource, textAt(metadata, "name") ?? ""),
    ...labelErrors(objectAt(metadata, "labels") ?? {}),
    ...annotationErrors(objectAt(metadata, "annotations") ?? {}),
    ...ownerErrors(metadata),
    ...finalizerErrors(resource, metadata),
  ];
}

/** What an update may not do to ObjectMeta. */
export function metadataUpdateErrors(before: JsonObject, after: JsonObject): Cause[] {
  if (!isDeleting(before)) return [];
  const had = new Set(finalizersOf(before));
  const added = finalizersOf(after).filter((name) => !had.has(name));
  if (added.length === 0) return [];
  const list = added.map((name) => JSON.stringify(name)).join(", ");
  return [
    notAllowed(
      "metadata.finalizers",
      `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`,
    ),
  ];
}

const texts = ["name", "generateName", "namespace", "uid", "resourceVersion", "deletionTimestamp"];
const known = new Set([
  ...texts,
  "selfLink",
  "creationTimestamp",
  "generation",
  "deletionGracePeriodSeconds",
  "labels",
  "annotations",
  "ownerReferences",
  "finalizers",
  "managedFields",
]);

function jsonKind(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

function checkTextMap(metadata: JsonObject, key: string, problem: (text: string) => Error): void {
  const map = field(metadata, key);
  if (map === undefined || map === null) return;
  const type = `map[string]string`;
  if (!isObject(map))
    throw problem(
      `json: cannot unmarshal ${jsonKind(map)} into Go struct field ObjectMeta.metadata.${key} of type ${type}`,
    );
  const wrong = Object.values(map).find((value) => typeof value !== "string");
  if (wrong === undefined || wrong === null) return;
  throw problem(
    `json: cannot unmarshal ${jsonKind(wrong)} into Go struct field ObjectMeta.metadata.${key} of type string`,
  );
}

/**
 * ObjectMeta as the API server would decode it: known fields alone, nulls and empty containers dropped. Pushes the paths
 * of unknown fields to `unknown`. @throws 400 for values of another type
 */
export function decodeMetadata(resource: Resource, object: JsonObject, unknown: string[]): JsonObject {
  const raw = field(object, "metadata") ?? {};
  const problem = (text: string): Error =>
    badRequest(
      `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: ${text}`,
    );
  if (!isObject(raw))
    throw problem(
      `json: cannot unmarshal ${jsonKind(raw)} into Go struct field ${resource.kind}.metadata of type v1.ObjectMeta`,
    );
  for (const key of texts) {
    const value = field(raw, key);
    if (value !== undefined && value !== null && typeof value !== "string") {
      throw problem(
        `json: cannot unmarshal ${jsonKind(value)} into Go struct field ObjectMeta.metadata.${key} of type string`,
      );
    }
  }
  checkTextMap(raw, "labels", problem);
  checkTextMap(raw, "annotations", problem);
  const kept: JsonObject = {};
  for (const [key, value] of Object.entries(raw)) {
    if (!known.has(key)) unknown.push(`metadata.${key}`);
    else if (value !== null && value !== "" && !isEmpty(value)) kept[key] = value;
  }
  return kept;
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0;
}
