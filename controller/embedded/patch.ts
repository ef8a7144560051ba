import { equal, field, isObject, setField, without, type Json, type JsonObject } from "./objects.ts";
import { badRequest, StatusError } from "./status.ts";

/** Media types of the three kinds of patch and of server-side apply. */
export const patchTypes = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
} as const;

function rejected(why: string): StatusError {
  const message = "the server rejected our request due to an error in our request";
  const details = { causes: [{ reason: "UnexpectedServerResponse", message: why }] };
  return new StatusError(422, "Invalid", message, { details });
}

/** JSON merge patch, RFC 7396. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(result, key);
    else setField(result, key, mergePatch(field(result, key), value));
  }
  return result;
}

function pointer(text: unknown): string[] {
  if (typeof text !== "string" || (text !== "" && !text.startsWith("/")))
    throw rejected("invalid JSON pointer");
  return text
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function child(parent: Json, key: string): Json | undefined {
  if (Array.isArray(parent)) return /^\d+$/.test(key) ? parent[Number(key)] : undefined;
  return isObject(parent) ? field(parent, key) : undefined;
}

function valueAt(root: Json, path: readonly string[]): Json {
  let value: Json | undefined = root;
  for (const key of path) value = value === undefined ? undefined : child(value, key);
  if (value === undefined) throw rejected(`the path /${path.join("/")} does not exist`);
  return value;
}

function insert(parent: Json, key: string, value: Json): void {
  if (isObject(parent)) {
    setField(parent, key, value);
    return;
  }
  if (!Array.isArray(parent)) throw rejected("add operation does not apply: the parent is no container");
  const index = key === "-" ? parent.length : Number(key);
  if (!Number.isInteger(index) || index < 0 || index > parent.length) throw rejected("index out of bounds");
  parent.splice(index, 0, value);
}

function take(root: Json, path: readonly string[]): Json {
  const value = valueAt(root, path);
  const parent = valueAt(root, path.slice(0, -1));
  const key = path.at(-1) ?? "";
  if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else if (isObject(parent)) Reflect.deleteProperty(parent, key);
  return value;
}

function put(root: Json, path: readonly string[], value: Json): Json {
  if (path.length === 0) return value;
  insert(valueAt(root, path.slice(0, -1)), path.at(-1) ?? "", value);
  return root;
}

function step(root: Json, operation: JsonObject): Json {
  const path = pointer(operation["path"]);
  const value = structuredClone(operation["value"] ?? null);
  switch (operation["op"]) {
    case "add":
      return put(root, path, value);
    case "replace":
      if (path.length > 0) take(root, path);
      return put(root, path, value);
    case "remove":
      take(root, path);
      return root;
    case "move":
      return put(root, path, take(root, pointer(operation["from"])));
    case "copy":
      return put(root, path, structuredClone(valueAt(root, pointer(operation["from"]))));
    case "test":
      if (!equal(valueAt(root, path), value)) throw rejected(`testing path /${path.join("/")} value failed`);
      return root;
    default:
      throw rejected("unexpected kind of operation");
  }
}

/** JSON patch, RFC 6902. @throws 422 if an operation does not apply */
export function jsonPatch(target: JsonObject, patch: Json): Json {
  if (!Array.isArray(patch))
    throw badRequest("json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  if (patch.length > 10_000)
    throw new StatusError(
      413,
      "RequestEntityTooLarge",
      "The allowed maximum operations in a JSON patch is 10000",
    );
  let root: Json = structuredClone(target);
  for (const operation of patch) root = step(root, isObject(operation) ? operation : {});
  return root;
}

/** The merge keys of the lists that our kinds have; other lists are replaced. */
const mergeKeys: Record<string, string> = {
  ownerReferences: "uid",
  conditions: "type",
  ports: "port",
  containers: "name",
  volumes: "name",
  secrets: "name",
  imagePullSecrets: "name",
};
const mergedScalars = new Set(["finalizers"]);

function mergeList(target: Json[], patch: Json[], key: string): Json[] {
  if (patch.some((entry) => isObject(entry) && entry["$patch"] === "replace")) {
    return patch.filter((entry) => !(isObject(entry) && entry["$patch"] === "replace"));
  }
  const result = [...target];
  const same = (a: Json, b: JsonObject): boolean => isObject(a) && equal(field(a, key), field(b, key));
  for (const entry of patch.filter(isObject)) {
    const index = result.findIndex((existing) => same(existing, entry));
    if (entry["$patch"] === "delete") {
      if (index >= 0) result.splice(index, 1);
    } else if (index >= 0) result[index] = strategicPatch(result[index] ?? null, entry);
    else result.push(strategicPatch({}, entry));
  }
  return result;
}

function mergeScalars(target: Json[], patch: Json[]): Json[] {
  return [...patch, ...target.filter((entry) => !patch.some((other) => equal(other, entry)))];
}

function retained(target: JsonObject, patch: JsonObject): JsonObject {
  const keys = patch["$retainKeys"];
  if (!Array.isArray(keys)) return { ...target };
  return Object.fromEntries(Object.entries(target).filter(([key]) => keys.includes(key)));
}

function deleteScalars(result: JsonObject, key: string, gone: Json): void {
  const list = field(result, key);
  if (!Array.isArray(list) || !Array.isArray(gone)) return;
  setField(
    result,
    key,
    list.filter((entry) => !gone.some((other) => equal(entry, other))),
  );
}

/** Strategic merge patch, with its directives; lists without a merge key are replaced. */
export function strategicPatch(target: Json | undefined, patch: JsonObject): Json {
  if (patch["$patch"] === "replace") return without(patch, "$patch");
  if (patch["$patch"] === "delete") return {};
  const result = retained(isObject(target) ? target : {}, patch);
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith("$deleteFromPrimitiveList/"))
      deleteScalars(result, key.slice(key.indexOf("/") + 1), value);
    else if (!key.startsWith("$")) setStrategic(result, key, value);
  }
  return result;
}

function setStrategic(result: JsonObject, key: string, value: Json): void {
  const existing = field(result, key);
  const mergeKey = Object.hasOwn(mergeKeys, key) ? mergeKeys[key] : undefined;
  if (value === null) Reflect.deleteProperty(result, key);
  else if (isObject(value)) setField(result, key, strategicPatch(existing, value));
  else if (!Array.isArray(value)) setField(result, key, value);
  else if (mergeKey !== undefined)
    setField(result, key, mergeList(Array.isArray(existing) ? existing : [], value, mergeKey));
  else if (mergedScalars.has(key))
    setField(result, key, mergeScalars(Array.isArray(existing) ? existing : [], value));
  else setField(result, key, value);
}
