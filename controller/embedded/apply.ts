import { elementsOf, listRule, memberElement, type FieldPath } from "./field-paths.ts";
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

/** Removes a leaf, or a container that has become empty; copies what it changes. */
function removeAt(value: Json, [element, ...rest]: string[]): Json {
  if (element === undefined) return value;
  if (isObject(value) && element.startsWith("f:")) {
    const key = element.slice(2);
    const inner = field(value, key);
    if (inner === undefined) return value;
    const result = { ...value };
    if (rest.length > 0) setField(result, key, removeAt(inner, rest));
    else if (!isFilled(inner)) Reflect.deleteProperty(result, key);
    return result;
  }
  if (!Array.isArray(value)) return value;
  const index = memberIndex(value, element);
  if (index < 0) return value;
  const member = value[index] ?? null;
  if (rest.length > 0) return value.with(index, removeAt(member, rest));
  return value.toSpliced(index, 1);
}

function isFilled(value: Json): boolean {
  return isObject(value) && Object.keys(value).length > 0;
}

function removeAll(object: JsonObject, paths: Iterable<FieldPath>): JsonObject {
  const deepestFirst = [...paths].map(elementsOf).sort((a, b) => b.length - a.length);
  let result: Json = object;
  for (const path of deepestFirst) result = removeAt(result, path);
  return isObject(result) ? result : object;
}

/** What a server-side apply makes of the live object: what is applied wins, what is no longer applied goes. */
export function applied(
  resource: Resource,
  { live, intent }: { live: JsonObject | undefined; intent: JsonObject },
  author: Author,
): JsonObject {
  if (live === undefined) return intent;
  const cleaned = removeAll(live, abandoned(resource, live, intent, author));
  const merged = merge(resource, { live: cleaned, applied: intent, names: [] });
  return isObject(merged) ? merged : live;
}
