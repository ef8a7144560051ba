import { elementsOf, leavesOf, listRule, memberElement, type FieldPath } from "./field-paths.ts";
import { abandoned, type Author } from "./managed-fields.ts";
import { field, isObject, setField, type Json, type JsonObject } from "./objects.ts";
import type { Resource } from "./resources.ts";

function mergeMembers(
  resource: Resource,
  { live, applied, names }: { live: Json[]; applied: Json[]; names: string[] },
): Json[] {
  const rule = listRule(resource, names);
  if (rule === "atomic") return applied;
  const result = [...live];
  for (const member of applied) {
    const element = memberElement(rule, member);
    const index = result.findIndex((existing) => memberElement(rule, existing) === element);
    if (index < 0) result.push(member);
    else
      result[index] = merge(resource, {
        live: result[index] ?? null,
        applied: member,
        names: [...names, "[]"],
      });
  }
  return result;
}

function merge(
  resource: Resource,
  { live, applied, names }: { live: Json; applied: Json; names: string[] },
): Json {
  if (Array.isArray(applied))
    return mergeMembers(resource, { live: Array.isArray(live) ? live : [], applied, names });
  if (!isObject(applied) || !isObject(live)) return applied;
  const result = { ...live };
  for (const [key, value] of Object.entries(applied)) {
    const existing = field(live, key);
    setField(
      result,
      key,
      existing === undefined
        ? value
        : merge(resource, { live: existing, applied: value, names: [...names, key] }),
    );
  }
  return result;
}

function memberIndex(list: Json[], element: string): number {
  return list.findIndex((member) => {
    if (element.startsWith("v:")) return JSON.stringify(member) === element.slice(2);
    const keys: unknown = JSON.parse(element.slice(2));
    return (
      isObject(keys) &&
      isObject(member) &&
      Object.entries(keys).every(([key, value]) => (field(member, key) ?? null) === value)
    );
  });
}

/** Removes what is at a path; copies what it changes. */
function removeAt(value: Json, [element, ...rest]: string[]): Json {
  if (element === undefined) return value;
  if (isObject(value) && element.startsWith("f:")) {
    const key = element.slice(2);
    const inner = field(value, key);
    if (inner === undefined) return value;
    const result = { ...value };
    if (rest.length > 0) setField(result, key, removeAt(inner, rest));
    else Reflect.deleteProperty(result, key);
    return result;
  }
  if (!Array.isArray(value)) return value;
  const index = memberIndex(value, element);
  if (index < 0) return value;
  const member = value[index] ?? null;
  if (rest.length > 0) return value.with(index, removeAt(member, rest));
  return value.toSpliced(index, 1);
}

function removeAll(resource: Resource, object: JsonObject, paths: Set<FieldPath>): JsonObject {
  const leaves = [...leavesOf(resource, object).keys()];
  const isMember = (path: FieldPath): boolean => /^[kv]:/.test(elementsOf(path).at(-1) ?? "");
  const within = (path: FieldPath, outer: FieldPath): boolean =>
    elementsOf(path).slice(0, elementsOf(outer).length).join() === elementsOf(outer).join();
  // A list's entry goes whole once all of it is abandoned; else its fields go one by one, but for its keys.
  const members = [...paths].filter(
    (path) => isMember(path) && leaves.every((leaf) => paths.has(leaf) || !within(leaf, path)),
  );
  const single = [...paths].filter(
    (path) => !isMember(path) && !members.some((member) => within(path, member)),
  );
  let result: Json = object;
  for (const path of [...members, ...single]) result = removeAt(result, elementsOf(path));
  return isObject(result) ? result : object;
}

/** What a server-side apply makes of the live object: what is applied wins, what is no longer applied goes. */
export function applied(
  resource: Resource,
  { live, intent }: { live: JsonObject | undefined; intent: JsonObject },
  author: Author,
): JsonObject {
  if (live === undefined) return intent;
  const cleaned = removeAll(resource, live, abandoned(resource, live, intent, author));
  const merged = merge(resource, { live: cleaned, applied: intent, names: [] });
  return isObject(merged) ? merged : live;
}
