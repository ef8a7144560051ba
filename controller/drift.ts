import { fieldManager, type KubeObject, type ManagedFields } from "./kube-api.ts";

/** How a live object differs from what it should be: names only, never values. */
export interface Drift {
  /** Entries present live that should not be. */
  added: string[];
  /** Entries whose value is another. */
  changed: string[];
  /** Entries missing live. */
  removed: string[];
  /** Parts of the metadata that differ: `labels`, `annotations`, `ownerReferences`, or the fields `type`, `immutable`. */
  metadata: string[];
  /** The program that wrote the object last, by the API server's records; `undefined` where there are none. */
  manager: string | undefined;
}

type Entries = Readonly<Record<string, string>>;

/** Compares a live Secret with the wanted one. @returns `undefined` where nothing differs */
export function describeDrift(live: KubeObject, wanted: KubeObject): Drift | undefined {
  const [before, after] = [entriesOf(live), entriesOf(wanted)];
  const added = Object.keys(before).filter((name) => !Object.hasOwn(after, name));
  const removed = Object.keys(after).filter((name) => !Object.hasOwn(before, name));
  const changed = Object.keys(after).filter(
    (name) => Object.hasOwn(before, name) && before[name] !== after[name],
  );
  const metadata = differingMetadata(live, wanted);
  if (added.length + removed.length + changed.length + metadata.length === 0) return undefined;
  return { added, changed, removed, metadata, manager: culprit(live, [...added, ...changed, ...metadata]) };
}

/** One line for people: what differed and who did it. */
export function driftSentence(drift: Drift): string {
  const parts = [
    named("changed", drift.changed),
    named("added", drift.added),
    named("removed", drift.removed),
    named("metadata", drift.metadata),
  ].filter((part) => part !== "");
  const by = drift.manager === undefined ? "" : ` (last written by ${drift.manager})`;
  return `${parts.join("; ")}${by}`;
}

/** The kinds of difference, as metric labels. */
export function driftKinds(drift: Drift): ("data" | "metadata")[] {
  const data = drift.added.length + drift.changed.length + drift.removed.length > 0;
  return [
    ...(data ? (["data"] as const) : []),
    ...(drift.metadata.length > 0 ? (["metadata"] as const) : []),
  ];
}

function named(word: string, names: readonly string[]): string {
  return names.length === 0 ? "" : `${word}: ${[...names].sort().join(", ")}`;
}

function entriesOf(secret: KubeObject): Entries {
  return (secret["data"] ?? {}) as Entries;
}

function differingMetadata(live: KubeObject, wanted: KubeObject): string[] {
  const parts = ["labels", "annotations"].filter(
    (part) => !sameMap(live.metadata[part], wanted.metadata[part]),
  );
  if (!sameReferences(live, wanted)) parts.push("ownerReferences");
  return [...parts, ...["type", "immutable"].filter((field) => live[field] !== wanted[field])];
}

function sameMap(left: unknown, right: unknown): boolean {
  const [before, after] = [(left ?? {}) as Entries, (right ?? {}) as Entries];
  const names = Object.keys(before);
  return names.length === Object.keys(after).length && names.every((name) => before[name] === after[name]);
}

function sameReferences(live: KubeObject, wanted: KubeObject): boolean {
  const identity = ({ metadata }: KubeObject): string =>
    (metadata.ownerReferences ?? [])
      .map(({ kind, name, uid, controller }) => `${kind}/${name}/${uid}/${controller === true}`)
      .join();
  return identity(live) === identity(wanted);
}

/**
 * Who made the difference: the last program but ours that owns one of the differing entries or parts; where none does (what
 * was removed has no owner), the last but ours at all.
 */
function culprit(live: KubeObject, differing: readonly string[]): string | undefined {
  const others = (live.metadata.managedFields ?? []).filter(
    ({ manager, subresource }) => manager !== fieldManager && (subresource ?? "") === "",
  );
  const owners = others.filter(({ fieldsV1 }) => differing.some((name) => owns(fieldsV1, name)));
  return lastOf(owners.length > 0 ? owners : others)?.manager;
}

function owns(fieldsV1: unknown, name: string): boolean {
  const fields = (fieldsV1 ?? {}) as Record<string, Record<string, unknown> | undefined>;
  return [fields["f:data"], fields["f:metadata"], fields].some(
    (part) => part !== undefined && Object.hasOwn(part, `f:${name}`),
  );
}

function lastOf(writes: readonly ManagedFields[]): ManagedFields | undefined {
  return writes.reduce<ManagedFields | undefined>(
    (last, write) => ((write.time ?? "") >= (last?.time ?? "") ? write : last),
    undefined,
  );
}
