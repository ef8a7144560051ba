import type { JsonObject } from "./objects.ts";
import { metadataOf, nameOf, namespaceOf, withMetadata } from "./objects.ts";

/** What a watcher may be told about one object. */
export type ChangeType = "ADDED" | "MODIFIED" | "DELETED";

/** One write, as watchers and the log see it. */
export interface Change {
  /** The resourceVersion that this write made. */
  version: number;
  type: ChangeType;
  storage: string;
  /** `namespace/name`, or `name`. */
  key: string;
  /** The object after the write; for a deletion its last state, with the deletion's resourceVersion. */
  object: JsonObject;
  /** The object before the write. */
  previous: JsonObject | undefined;
  /** Encoded watch events, made once however many watchers there are. */
  frames: Map<string, string>;
}

/** Keeps changes beyond the life of the process. */
export interface Journal {
  append(change: Change): void;
  /** Resolves once everything appended so far is on disk. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

interface Collection {
  objects: Map<string, JsonObject>;
  /** Keys in order, until a key is added or removed. */
  sorted: string[] | undefined;
  history: Change[];
  /** Changes up to this resourceVersion are no longer in `history`. */
  horizon: number;
}

/** The key of an object within its storage. */
export function keyOf(namespace: string | undefined, name: string): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/**
 * All objects and the recent history of each resource. Objects are never changed in place. One resourceVersion counts
 * for everything, as in etcd.
 */
export class Store {
  readonly #collections = new Map<string, Collection>();
  readonly #observers = new Set<(change: Change) => void>();
  readonly #watchers = new Map<string, Set<(change: Change) => void>>();
  #undelivered: Change[] = [];
  readonly #historyLimit: number;
  #journal: Journal | undefined;
  #base = 0;
  #version = 0;
  #delivered = 0;

  /** @param historyLimit changes kept per resource; an older watch gets 410. */
  constructor(historyLimit: number) {
    this.#historyLimit = historyLimit;
  }

  /** The newest resourceVersion. */
  get version(): number {
    return this.#version;
  }

  /** Watchers have been told of every change up to this resourceVersion. */
  get delivered(): number {
    return this.#delivered;
  }

  /** Puts back a snapshot, before anything else happens. */
  restore(version: number, objects: Iterable<[storage: string, object: JsonObject]>): void {
    this.#version = version;
    this.#delivered = version;
    this.#base = version;
    for (const [storage, object] of objects) {
      this.#collection(storage).objects.set(keyOf(namespaceOf(object), nameOf(object)), object);
    }
  }

  /** Puts back one change from the log. */
  replay(change: Pick<Change, "version" | "type" | "storage" | "object">): void {
    const key = keyOf(namespaceOf(change.object), nameOf(change.object));
    const previous = this.#collection(change.storage).objects.get(key);
    this.#version = change.version;
    this.#delivered = change.version;
    this.#record({ ...change, key, previous, frames: new Map() });
  }

  /** From now on writes go to the journal as well. */
  persist(journal: Journal): void {
    this.#journal = journal;
  }

  /** Calls `observer` for each later change as it is made, whether or not it is on disk; the result ends it. */
  observe(observer: (change: Change) => void): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  /** Calls `watcher` for each later change of one resource once it is on disk; the result ends it. */
  watch(storage: string, watcher: (change: Change) => void): () => void {
    const watchers = this.#watchers.get(storage) ?? new Set();
    this.#watchers.set(storage, watchers);
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  }

  get(storage: string, key: string): JsonObject | undefined {
    return this.#collections.get(storage)?.objects.get(key);
  }

  /** Objects in the order of their keys, of one namespace or of all. */
  list(storage: string, namespace?: string): JsonObject[] {
    const collection = this.#collections.get(storage);
    if (collection === undefined) return [];
    collection.sorted ??= [...collection.objects.keys()].sort();
    const found: JsonObject[] = [];
    const prefix = namespace === undefined ? "" : `${namespace}/`;
    for (const key of collection.sorted) {
      const object = key.startsWith(prefix) ? collection.objects.get(key) : undefined;
      if (object !== undefined) found.push(object);
    }
    return found;
  }

  /** The objects as they were at an earlier resourceVersion; undefined if that is too long ago. */
  listAt(storage: string, version: number): JsonObject[] | undefined {
    const collection = this.#collection(storage);
    if (version < collection.horizon) return undefined;
    const objects = new Map(collection.objects);
    for (const change of collection.history.toReversed()) {
      if (change.version <= version) break;
      if (change.previous === undefined) objects.delete(change.key);
      else objects.set(change.key, change.previous);
    }
    const found: JsonObject[] = [];
    for (const key of [...objects.keys()].sort()) {
      const object = objects.get(key);
      if (object !== undefined) found.push(object);
    }
    return found;
  }

  /** Changes after a resourceVersion, oldest first; undefined if some of them are no longer kept. */
  since(storage: string, version: number): Change[] | undefined {
    const { history, horizon } = this.#collection(storage);
    if (version < horizon) return undefined;
    const first = history.findLastIndex((change) => change.version <= version) + 1;
    return history.slice(first);
  }

  /** The oldest resourceVersion from which a watch can start. */
  horizon(storage: string): number {
    return this.#collection(storage).horizon;
  }

  /** Writes an object and gives it its resourceVersion. */
  put(storage: string, object: JsonObject): JsonObject {
    const previous = this.get(storage, keyOf(namespaceOf(object), nameOf(object)));
    return this.#commit(previous === undefined ? "ADDED" : "MODIFIED", storage, object);
  }

  /** Removes an object; its last state carries the resourceVersion of the removal. */
  remove(storage: string, object: JsonObject): JsonObject {
    return this.#commit("DELETED", storage, object);
  }

  /** Resolves once every write so far would survive the end of the process. @throws whatever the disk reports. */
  async settled(): Promise<void> {
    await this.#journal?.settled();
  }

  #commit(type: ChangeType, storage: string, object: JsonObject): JsonObject {
    const version = ++this.#version;
    const stored = withMetadata(object, { resourceVersion: String(version) });
    const key = keyOf(namespaceOf(object), nameOf(object));
    const previous = this.get(storage, key);
    const change: Change = { version, type, storage, key, object: stored, previous, frames: new Map() };
    this.#record(change);
    this.#journal?.append(change);
    for (const observer of this.#observers) observer(change);
    this.#undelivered.push(change);
    if (this.#journal === undefined) this.#deliver(version);
    else if (this.#undelivered.length === 1) void this.#deliverSettled(this.#journal);
    return stored;
  }

  async #deliverSettled(journal: Journal): Promise<void> {
    try {
      while (this.#undelivered.length > 0) {
        const version = this.#version;
        await journal.settled();
        this.#deliver(version);
      }
    } catch {
      // The disk failed: nothing is announced, and every request is refused from now on.
    }
  }

  #deliver(version: number): void {
    this.#delivered = version;
    const count = this.#undelivered.findLastIndex((change) => change.version <= version) + 1;
    for (const change of this.#undelivered.splice(0, count)) {
      for (const watcher of this.#watchers.get(change.storage) ?? []) watcher(change);
      change.frames.clear();
    }
  }

  #record(change: Change): void {
    const collection = this.#collection(change.storage);
    if (change.type === "DELETED") collection.objects.delete(change.key);
    else collection.objects.set(change.key, change.object);
    if (change.type !== "MODIFIED") collection.sorted = undefined;
    collection.history.push(change);
    // Trimming in steps keeps the cost per write constant.
    if (collection.history.length >= this.#historyLimit * 1.25 + 1) {
      const dropped = collection.history.splice(0, collection.history.length - this.#historyLimit);
      collection.horizon = dropped.at(-1)?.version ?? collection.horizon;
    }
  }

  #collection(storage: string): Collection {
    let collection = this.#collections.get(storage);
    if (collection === undefined) {
      collection = { objects: new Map(), sorted: undefined, history: [], horizon: this.#base };
      this.#collections.set(storage, collection);
    }
    return collection;
  }

  /** Every object with its storage, for a snapshot. */
  *everything(): Generator<[storage: string, object: JsonObject]> {
    for (const [storage, collection] of this.#collections) {
      for (const object of collection.objects.values()) yield [storage, object];
    }
  }
}

/** `metadata.resourceVersion` as a number. */
export function versionOf(object: JsonObject): number {
  return Number(metadataOf(object)["resourceVersion"]);
}
