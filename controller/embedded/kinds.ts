import { invalidValue, required } from "./field-errors.ts";
import { decodeMetadata, metadataErrors, metadataUpdateErrors } from "./metadata-rules.ts";
import { definitionErrors, normaliseDefinition } from "./definitions.ts";
import {
  field,
  isObject,
  metadataOf,
  nameOf,
  namespaceOf,
  objectAt,
  textAt,
  textsAt,
  without,
  type JsonObject,
} from "./objects.ts";
import { apiVersionOf, type Resource } from "./resources.ts";
import { prune, schemaErrors, withDefaults } from "./schema.ts";
import {
  immutableErrors,
  keyErrors,
  normaliseSecret,
  secretErrors,
  secretUpdateErrors,
} from "./secret-rules.ts";
import { badRequest, type Cause } from "./status.ts";

/** What a built-in kind adds to the rules of every object. */
interface KindRules {
  /** Fields besides apiVersion, kind and metadata. */
  fields?: readonly string[];
  /** Defaults and canonical form. */
  normalise?: (object: JsonObject, problem: (text: string) => Error) => JsonObject;
  errors?: (object: JsonObject) => Cause[];
  updateErrors?: (before: JsonObject, after: JsonObject) => Cause[];
}

function normaliseNamespace(object: JsonObject): JsonObject {
  const metadata = metadataOf(object);
  const labels = { ...objectAt(metadata, "labels"), "kubernetes.io/metadata.name": nameOf(object) };
  return {
    ...object,
    metadata: { ...metadata, labels },
    spec: objectAt(object, "spec") ?? { finalizers: ["kubernetes"] },
    status: objectAt(object, "status") ?? { phase: "Active" },
  };
}

function normaliseService(object: JsonObject): JsonObject {
  const spec = objectAt(object, "spec") ?? {};
  const ports = (Array.isArray(spec["ports"]) ? spec["ports"] : []).filter(isObject);
  return {
    ...object,
    spec: {
      clusterIP: "None",
      clusterIPs: ["None"],
      internalTrafficPolicy: "Cluster",
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      sessionAffinity: "None",
      type: "ClusterIP",
      ...spec,
      ports: ports.map((port) => ({ protocol: "TCP", targetPort: port["port"] ?? 0, ...port })),
    },
    status: objectAt(object, "status") ?? { loadBalancer: {} },
  };
}

function configMapErrors(object: JsonObject): Cause[] {
  return ["data", "binaryData"].flatMap((at) =>
    Object.keys(objectAt(object, at) ?? {}).flatMap((key) => keyErrors(key, at)),
  );
}

function leaseErrors(object: JsonObject): Cause[] {
  const duration = objectAt(object, "spec")?.["leaseDurationSeconds"];
  if (typeof duration !== "number" || duration > 0) return [];
  return [invalidValue("spec.leaseDurationSeconds", duration, "must be greater than 0")];
}

function eventErrors(object: JsonObject): Cause[] {
  const namespace = namespaceOf(object) ?? "";
  const involved = textAt(objectAt(object, "involvedObject"), "namespace") ?? "";
  if (involved === namespace || (involved === "" && namespace === "default")) return [];
  return [invalidValue("involvedObject.namespace", involved, "does not match event.namespace")];
}

const rules: Record<string, KindRules> = {
  "/secrets": {
    fields: ["data", "stringData", "immutable", "type"],
    normalise: normaliseSecret,
    errors: secretErrors,
    updateErrors: secretUpdateErrors,
  },
  "/configmaps": {
    fields: ["data", "binaryData", "immutable"],
    errors: configMapErrors,
    updateErrors: (before, after) => immutableErrors(before, after, ["data", "binaryData"]),
  },
  "/namespaces": { fields: ["spec", "status"], normalise: normaliseNamespace },
  "/services": {
    fields: ["spec", "status"],
    normalise: normaliseService,
    errors: (object) =>
      (field(objectAt(object, "spec"), "ports") as unknown[]).length > 0 ? [] : [required("spec.ports")],
  },
  "/serviceaccounts": { fields: ["secrets", "imagePullSecrets", "automountServiceAccountToken"] },
  "/endpoints": { fields: ["subsets"] },
  "/events": {
    normalise: (object) => ({ eventTime: null, reportingComponent: "", reportingInstance: "", ...object }),
    errors: eventErrors,
  },
  "/pods": { fields: ["spec", "status"] },
  "coordination.k8s.io/leases": { fields: ["spec"], errors: leaseErrors },
  "apiextensions.k8s.io/customresourcedefinitions": {
    fields: ["spec", "status"],
    normalise: normaliseDefinition,
    errors: definitionErrors,
  },
};

/** Why an object of this resource could not be decoded: 400. */
export function undecodable(resource: Resource, text: string): Error {
  const { kind, version } = resource;
  return badRequest(`${kind} in version "${version}" cannot be handled as a ${kind}: ${text}`);
}

function pruned(resource: Resource, object: JsonObject, unknown: string[]): JsonObject {
  if (resource.custom !== undefined) {
    const { schema } = resource.custom;
    const result = schema === undefined ? object : prune(schema, object, unknown);
    return isObject(result) ? result : object;
  }
  const fields = rules[resource.storage]?.fields;
  if (fields === undefined) return object;
  const extra = Object.keys(object).filter(
    (key) => !["apiVersion", "kind", "metadata", ...fields].includes(key),
  );
  unknown.push(...extra);
  return without(object, ...extra);
}

/**
 * An object from a client in the form that is stored: known fields, canonical values, defaults. Paths of fields that no
 * one declares are pushed to `unknown`. @throws 400 if it is no object of this resource
 */
export function decodeObject(resource: Resource, body: JsonObject, unknown: string[]): JsonObject {
  const apiVersion = textAt(body, "apiVersion") ?? "";
  const kind = textAt(body, "kind") ?? "";
  const wanted = apiVersionOf(resource);
  if (kind !== "" && kind !== resource.kind) {
    throw badRequest(
      `${kind} in version "${apiVersion.split("/").at(-1) ?? ""}" cannot be handled as a ${resource.kind}: the kind in the data does not match the path`,
    );
  }
  if (apiVersion !== "" && apiVersion !== wanted) {
    throw badRequest(
      `the API version in the data (${apiVersion}) does not match the expected API version (${wanted})`,
    );
  }
  const metadata = decodeMetadata(resource, body, unknown);
  return pruned(
    resource,
    { apiVersion: wanted, kind: resource.kind, ...without(body, "apiVersion", "kind", "metadata"), metadata },
    unknown,
  );
}

/** Fills in what the kind defaults, after namespace and name are settled. @throws 400 */
export function normaliseObject(resource: Resource, object: JsonObject): JsonObject {
  const schema = resource.custom?.schema;
  if (schema !== undefined) {
    const filled = withDefaults(schema, object);
    return isObject(filled) ? filled : object;
  }
  const normalise = rules[resource.storage]?.normalise;
  return normalise === undefined ? object : normalise(object, (text) => undecodable(resource, text));
}

/** Everything wrong with an object that is about to be stored. */
export function objectErrors(resource: Resource, object: JsonObject): Cause[] {
  const schema = resource.custom?.schema;
  return [
    ...metadataErrors(resource, object),
    ...(schema === undefined ? [] : schemaErrors(schema, object)),
    ...(rules[resource.storage]?.errors?.(object) ?? []),
  ];
}

/** Everything that an update does and may not do. */
export function updateErrors(resource: Resource, before: JsonObject, after: JsonObject): Cause[] {
  return [
    ...metadataUpdateErrors(before, after),
    ...(rules[resource.storage]?.updateErrors?.(before, after) ?? []),
  ];
}

/** Whether `/status` is written apart from the rest. */
export function hasStatus(resource: Resource): boolean {
  return resource.custom?.status ?? resource.subresources.includes("status");
}

/** Whether spec changes are counted in `metadata.generation`. */
export function hasGeneration(resource: Resource): boolean {
  return resource.custom !== undefined || resource.kind === "CustomResourceDefinition";
}

/** Finalizers in `spec`, which only namespaces have. */
export function specFinalizers(object: JsonObject): string[] {
  return textsAt(objectAt(object, "spec"), "finalizers");
}
