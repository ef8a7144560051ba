import {
  equal,
  metadataOf,
  objectAt,
  objectsAt,
  textAt,
  withMetadata,
  without,
  type JsonObject,
} from "./objects.ts";
import {
  appliedPaths,
  fromFieldsV1,
  leavesOf,
  readablePath,
  toFieldsV1,
  type FieldPath,
  type Leaf,
} from "./field-paths.ts";
import { apiVersionOf, type Resource } from "./resources.ts";
import { StatusError } from "./status.ts";

/** Who writes, and how. */
export interface Author {
  manager: string;
  operation: "Apply" | "Update";
  /** `status` if written there. */
  subresource: string | undefined;
  /** Time of the write, RFC 3339. */
  time: string;
}

interface Entry {
  manager: string;
  operation: string;
  apiVersion: string;
  subresource: string | undefined;
  time: string | undefined;
  paths: Set<FieldPath>;
}

function entriesOf(object: JsonObject): Entry[] {
  return objectsAt(metadataOf(object), "managedFields")
    .filter((entry) => textAt(entry, "operation") !== undefined)
    .map((entry) => ({
      manager: textAt(entry, "manager") ?? "",
      operation: textAt(entry, "operation") ?? "",
      apiVersion: textAt(entry, "apiVersion") ?? "",
      subresource: textAt(entry, "subresource"),
      time: textAt(entry, "time"),
      paths: fromFieldsV1(objectAt(entry, "fieldsV1") ?? {}),
    }));
}

function withEntries(object: JsonObject, entries: readonly Entry[]): JsonObject {
  const kept = entries.filter((entry) => entry.paths.size > 0);
  const rank = (entry: Entry): string =>
    [entry.operation, entry.time ?? "", entry.manager, entry.subresource ?? ""].join(" ");
  const managedFields = kept
    .toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1))
    .map((entry) => ({
      manager: entry.manager,
      operation: entry.operation,
      apiVersion: entry.apiVersion,
      ...(entry.time === undefined ? {} : { time: entry.time }),
      fieldsType: "FieldsV1",
      fieldsV1: toFieldsV1(entry.paths),
      ...(entry.subresource === undefined ? {} : { subresource: entry.subresource }),
    }));
  if (managedFields.length > 0) return withMetadata(object, { managedFields });
  return { ...object, metadata: without(metadataOf(object), "managedFields") };
}

function entryOf(entries: Entry[], resource: Resource, author: Author): Entry {
  const apiVersion = apiVersionOf(resource);
  const { manager, operation, subresource } = author;
  const found = entries.find(
    (entry) =>
      entry.manager === manager &&
      entry.operation === operation &&
      entry.subresource === subresource &&
      (operation === "Apply" || entry.apiVersion === apiVersion),
  );
  if (found !== undefined) return found;
  const entry: Entry = { manager, operation, apiVersion, subresource, time: undefined, paths: new Set() };
  entries.push(entry);
  return entry;
}

interface Difference {
  changed: Set<FieldPath>;
  removed: Set<FieldPath>;
}

function difference(before: Map<FieldPath, Leaf>, after: Map<FieldPath, Leaf>): Difference {
  const changed = new Set<FieldPath>();
  for (const [path, leaf] of after) {
    if (!before.has(path) || !sameLeaf(before.get(path), leaf)) changed.add(path);
  }
  return { changed, removed: new Set([...before.keys()].filter((path) => !after.has(path))) };
}

function sameLeaf(a: Leaf | undefined, b: Leaf): boolean {
  if (typeof a === "symbol" || typeof b === "symbol") return a === b;
  return equal(a, b);
}

/** The object with `managedFields` after an ordinary write: what it changed is its author's, and no one else's. */
export function recordUpdate(
  resource: Resource,
  { before, after }: { before: JsonObject | undefined; after: JsonObject },
  author: Author,
): JsonObject {
  const sent = objectsAt(metadataOf(after), "managedFields");
  // A client may reset or rewrite the list (kubectl does, when it moves an object to server-side apply).
  const entries = entriesOf(sent.length > 0 || before === undefined ? after : before);
  const previous = before === undefined ? new Map<FieldPath, Leaf>() : leavesOf(resource, before);
  const { changed, removed } = difference(previous, leavesOf(resource, after));
  const mine = entryOf(entries, resource, author);
  for (const entry of entries) {
    if (entry === mine) continue;
    entry.paths = new Set([...entry.paths].filter((path) => !changed.has(path) && !removed.has(path)));
  }
  const paths = new Set([...mine.paths, ...changed].filter((path) => !removed.has(path)));
  if (changed.size > 0) mine.time = author.time;
  mine.paths = paths;
  return withEntries(after, entries);
}

/** Paths that the author applied before, no longer applies, and that nobody else owns. */
export function abandoned(
  resource: Resource,
  live: JsonObject,
  applied: JsonObject,
  author: Author,
): Set<FieldPath> {
  const entries = entriesOf(live);
  const mine = entryOf(entries, resource, author);
  const wanted = appliedPaths(leavesOf(resource, applied));
  const others = new Set(entries.filter((entry) => entry !== mine).flatMap((entry) => [...entry.paths]));
  return new Set([...mine.paths].filter((path) => !wanted.has(path) && !others.has(path)));
}

function conflictsOf(
  entries: readonly Entry[],
  mine: Entry,
  contested: Set<FieldPath>,
): [Entry, FieldPath][] {
  return entries
    .filter((entry) => entry !== mine)
    .flatMap((entry) =>
      [...entry.paths].filter((path) => contested.has(path)).map((path): [Entry, FieldPath] => [entry, path]),
    );
}

function described({ manager, subresource, operation, apiVersion }: Entry): string {
  const place = subresource === undefined ? "" : ` with subresource "${subresource}"`;
  return `"${manager}"${place}${operation === "Update" ? ` using ${apiVersion}` : ""}`;
}

function applyConflict(conflicts: readonly [Entry, FieldPath][]): StatusError {
  const lines = conflicts.map(([entry, path]) => ({
    reason: "FieldManagerConflict",
    message: `conflict with ${described(entry)}`,
    field: readablePath(path),
  }));
  const count = lines.length === 1 ? "1 conflict" : `${lines.length} conflicts`;
  const text =
    lines.length === 1
      ? lines.map((line) => `${line.message}: ${line.field}`).join("")
      : lines.map((line) => `${line.message}:\n- ${line.field}`).join("\n");
  return new StatusError(409, "Conflict", `Apply failed with ${count}: ${text}`, {
    details: { causes: lines },
  });
}

/**
 * The object with `managedFields` after a server-side apply. @throws 409 if another manager owns a field with another
 * value, unless forced
 */
export function recordApply(
  resource: Resource,
  { live, applied, merged }: { live: JsonObject | undefined; applied: JsonObject; merged: JsonObject },
  { force, ...author }: Author & { force: boolean },
): JsonObject {
  const entries = live === undefined ? [] : entriesOf(live);
  const mine = entryOf(entries, resource, author);
  const wanted = leavesOf(resource, applied);
  const before = live === undefined ? new Map<FieldPath, Leaf>() : leavesOf(resource, live);
  const contested = new Set(
    [...wanted].filter(([path, leaf]) => !sameLeaf(before.get(path), leaf)).map(([path]) => path),
  );
  const { changed, removed } = difference(before, leavesOf(resource, merged));
  const conflicts = conflictsOf(entries, mine, contested);
  if (conflicts.length > 0 && !force) throw applyConflict(conflicts);
  const after = leavesOf(resource, merged);
  for (const entry of entries) {
    if (entry === mine) continue;
    entry.paths = new Set([...entry.paths].filter((path) => after.has(path) && !contested.has(path)));
  }
  mine.paths = appliedPaths(wanted);
  // As kube-apiserver: who applies what is there already is recorded without a time.
  if (live === undefined || changed.size + removed.size > 0) mine.time = author.time;
  return withEntries(merged, entries);
}

/** Whether two objects differ in nothing but the times of their managedFields and their resourceVersion. */
export function sameContent(a: JsonObject, b: JsonObject): boolean {
  const plain = (object: JsonObject): JsonObject => ({
    ...object,
    metadata: {
      ...without(metadataOf(object), "resourceVersion"),
      managedFields: objectsAt(metadataOf(object), "managedFields").map((entry) => without(entry, "time")),
    },
  });
  return equal(plain(a), plain(b));
}
