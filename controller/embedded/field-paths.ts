import { field, isObject, setField, type Json, type JsonObject } from "./objects.ts";
import type { Resource } from "./resources.ts";

/** A path in the notation of fieldsV1: `f:data`, `k:{"uid":"1"}`, `v:"x"`; elements joined by NUL. */
export type FieldPath = string;

/** How a list is merged: by the keys of its entries, as a set of scalars, or as one value. */
export type ListRule = { keys: readonly string[] } | "set" | "atomic";

const separator = "\u0000";
const container = Symbol("container");

/** A leaf's value, or the mark of a map or list whose members are listed on their own. */
export type Leaf = Json | typeof container;

const stripped = new Set([
  "name",
  "namespace",
  "creationTimestamp",
  "selfLink",
  "uid",
  "generation",
  "managedFields",
  "resourceVersion",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
]);

const builtInLists: Record<string, ListRule> = {
  "metadata.ownerReferences": { keys: ["uid"] },
  "metadata.finalizers": "set",
  "status.conditions": { keys: ["type"] },
};
const builtInListsByStorage: Record<string, Record<string, ListRule>> = {
  "/services": { "spec.ports": { keys: ["port", "protocol"] } },
  "/serviceaccounts": { secrets: { keys: ["name"] }, imagePullSecrets: "atomic" },
  "/pods": { "spec.containers": { keys: ["name"] }, "spec.volumes": { keys: ["name"] } },
};

function schemaAt(resource: Resource, path: readonly string[]): JsonObject | undefined {
  let schema = resource.custom?.schema;
  for (const key of path) {
    if (schema === undefined) return undefined;
    const inner: Json | undefined =
      key === "[]"
        ? schema["items"]
        : ((isObject(schema["properties"]) ? field(schema["properties"], key) : undefined) ??
          schema["additionalProperties"]);
    schema = isObject(inner) ? inner : undefined;
  }
  return schema;
}

/** How the list at a path of names (`[]` for the members of a list) is merged. */
export function listRule(resource: Resource, path: readonly string[]): ListRule {
  const dotted = path.join(".");
  if (resource.custom !== undefined && path[0] !== "metadata") {
    const schema = schemaAt(resource, path);
    if (schema?.["x-kubernetes-list-type"] === "set") return "set";
    const keys = schema?.["x-kubernetes-list-map-keys"];
    if (schema?.["x-kubernetes-list-type"] !== "map" || !Array.isArray(keys)) return "atomic";
    return { keys: keys.filter((key) => typeof key === "string") };
  }
  return builtInListsByStorage[resource.storage]?.[dotted] ?? builtInLists[dotted] ?? "atomic";
}

/** The path element of a list's member. */
export function memberElement(rule: ListRule, member: Json): string | undefined {
  if (rule === "atomic") return undefined;
  if (rule === "set") return `v:${JSON.stringify(member)}`;
  if (!isObject(member)) return undefined;
  const sorted = rule.keys.toSorted().map((key) => [key, field(member, key) ?? null] as const);
  return `k:${JSON.stringify(Object.fromEntries(sorted))}`;
}

/** Built-in structs are no maps: only their fields are owned, not the struct itself. */
function isStruct(resource: Resource, path: readonly string[]): boolean {
  if (path.length === 0) return true;
  if (path.length === 1 && path[0] === "metadata") return true;
  return (
    resource.custom === undefined &&
    path.length === 1 &&
    ["spec", "status", "source", "series"].includes(path[0] ?? "")
  );
}

/** Parts that the server fills in by itself, which nobody owns. */
const unowned: Record<string, readonly string[]> = { "/namespaces": ["spec", "status"] };
/** References to objects are owned as a whole. */
const atomicObjects = new Set(["involvedObject", "related"]);

/** Every owned path of an object with its value: what managedFields counts. */
export function leavesOf(resource: Resource, object: JsonObject): Map<FieldPath, Leaf> {
  const leaves = new Map<FieldPath, Leaf>();
  const visit = (value: Json, names: readonly string[], path: readonly string[]): void => {
    if (resource.storage === "/events" && (value === null || value === "")) return;
    const whole = names.length === 1 && resource.custom === undefined && atomicObjects.has(names.join(""));
    if (isObject(value) && !whole) {
      const keys = Object.keys(value).filter((key) => !isStripped(resource, names, key));
      const empty = keys.length === 0;
      if (!isStruct(resource, names)) leaves.set(path.join(separator), empty ? {} : container);
      for (const key of keys) visit(field(value, key) ?? null, [...names, key], [...path, `f:${key}`]);
      return;
    }
    const rule = Array.isArray(value) ? listRule(resource, names) : "atomic";
    if (!Array.isArray(value) || rule === "atomic" || value.length === 0) {
      leaves.set(path.join(separator), value);
      return;
    }
    leaves.set(path.join(separator), container);
    for (const member of value) {
      visit(member, [...names, "[]"], [...path, memberElement(rule, member) ?? ""]);
    }
  };
  visit(object, [], []);
  return leaves;
}

function isStripped(resource: Resource, names: readonly string[], key: string): boolean {
  if (names.length === 0 && unowned[resource.storage]?.includes(key) === true) return true;
  if (names.length === 0) return key === "apiVersion" || key === "kind";
  return names.length === 1 && names[0] === "metadata" && stripped.has(key);
}

/** What a server-side apply owns: its values and the entries of keyed lists, not the maps and lists around them. */
export function appliedPaths(leaves: Map<FieldPath, Leaf>): Set<FieldPath> {
  const owned = [...leaves].filter(
    ([path, leaf]) => leaf !== container || /^[kv]:/.test(elementsOf(path).at(-1) ?? ""),
  );
  return new Set(owned.map(([path]) => path));
}

/** A set of paths as fieldsV1. */
export function toFieldsV1(paths: Iterable<FieldPath>): JsonObject {
  const root: JsonObject = {};
  const all = [...paths];
  const inner = new Set(all.flatMap((path) => ancestors(path)));
  for (const path of all) {
    let node = root;
    for (const element of path.split(separator)) {
      const next = field(node, element);
      const child = isObject(next) ? next : {};
      setField(node, element, child);
      node = child;
    }
    if (inner.has(path)) node["."] = {};
  }
  return root;
}

function ancestors(path: FieldPath): FieldPath[] {
  const elements = path.split(separator);
  return elements.slice(1).map((_, index) => elements.slice(0, index + 1).join(separator));
}

/** The paths of a fieldsV1 value. */
export function fromFieldsV1(fields: JsonObject): Set<FieldPath> {
  const paths = new Set<FieldPath>();
  const visit = (node: JsonObject, path: string[]): void => {
    const children = Object.entries(node).filter(([key]) => key !== ".");
    if (path.length > 0 && (children.length === 0 || Object.hasOwn(node, ".")))
      paths.add(path.join(separator));
    for (const [key, child] of children) if (isObject(child)) visit(child, [...path, key]);
  };
  visit(fields, []);
  return paths;
}

/** The elements of a path. */
export function elementsOf(path: FieldPath): string[] {
  return path.split(separator);
}

/** A path for people: `.data.password`. */
export function readablePath(path: FieldPath): string {
  return elementsOf(path)
    .map((element) => (element.startsWith("f:") ? `.${element.slice(2)}` : memberText(element)))
    .join("");
}

function memberText(element: string): string {
  if (element.startsWith("v:")) return `[=${element.slice(2)}]`;
  const keys: unknown = JSON.parse(element.slice(2));
  const pairs = isObject(keys) ? Object.entries(keys) : [];
  return `[${pairs.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(",")}]`;
}
