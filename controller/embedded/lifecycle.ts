import { cleanupFinalizer } from "./definitions.ts";
import {
  finalizersOf,
  isDeleting,
  metadataOf,
  nameOf,
  namespaceOf,
  objectsAt,
  textAt,
  uidOf,
  withMetadata,
  type JsonObject,
} from "./objects.ts";
import type { Registry, Resource } from "./resources.ts";
import { keyOf, type Change, type Store } from "./store.ts";
import type { Writer } from "./writes.ts";

interface Reference {
  storage: string;
  key: string;
}

const namespaces = "/namespaces";
const definitions = "apiextensions.k8s.io/customresourcedefinitions";

/**
 * What kube-controller-manager and the API server's own controllers do with deletions: dependents follow their owners,
 * content follows its namespace, custom objects follow their definition.
 */
export class Lifecycle {
  readonly #store: Store;
  readonly #registry: Registry;
  readonly #writer: Writer;
  readonly #byUid = new Map<string, Reference>();
  readonly #dependents = new Map<string, Map<string, Reference>>();
  readonly #due = new Map<string, Reference>();
  readonly #unobserve: () => void;
  #timer: NodeJS.Immediate | undefined;

  constructor({ store, registry, writer }: { store: Store; registry: Registry; writer: Writer }) {
    this.#store = store;
    this.#registry = registry;
    this.#writer = writer;
    for (const [storage, object] of store.everything()) {
      const reference = { storage, key: keyOf(namespaceOf(object), nameOf(object)) };
      this.#index(reference, object);
      if (needsCare(object)) this.#enqueue(reference);
    }
    this.#unobserve = store.observe((change) => this.#observe(change));
  }

  /** Ends the background work. */
  stop(): void {
    this.#unobserve();
    if (this.#timer !== undefined) clearImmediate(this.#timer);
  }

  #observe(change: Change): void {
    const reference = { storage: change.storage, key: change.key };
    if (change.previous !== undefined) this.#unindex(reference, change.previous);
    if (change.type !== "DELETED") {
      this.#index(reference, change.object);
      if (needsCare(change.object)) this.#enqueue(reference);
      return;
    }
    for (const dependent of this.#dependents.get(uidOf(change.object))?.values() ?? [])
      this.#enqueue(dependent);
    this.#enqueueContainers(change);
  }

  /** A namespace, definition or foreground-deleted owner may have waited for this object to go. */
  #enqueueContainers(change: Change): void {
    const namespace = namespaceOf(change.object);
    if (namespace !== undefined) this.#enqueue({ storage: namespaces, key: namespace });
    const definition = this.#registry.ofStorage(change.storage)?.custom?.definition;
    if (definition !== undefined) this.#enqueue({ storage: definitions, key: definition });
    if (change.storage === definitions) this.#registry.removeDefinition(change.key);
    for (const owner of ownersOf(change.object)) {
      const reference = this.#byUid.get(textAt(owner, "uid") ?? "");
      if (reference !== undefined) this.#enqueue(reference);
    }
  }

  #index(reference: Reference, object: JsonObject): void {
    this.#byUid.set(uidOf(object), reference);
    for (const owner of ownersOf(object)) {
      const uid = textAt(owner, "uid") ?? "";
      const dependents = this.#dependents.get(uid) ?? new Map<string, Reference>();
      dependents.set(`${reference.storage} ${reference.key}`, reference);
      this.#dependents.set(uid, dependents);
    }
  }

  #unindex(reference: Reference, object: JsonObject): void {
    this.#byUid.delete(uidOf(object));
    for (const owner of ownersOf(object)) {
      const uid = textAt(owner, "uid") ?? "";
      const dependents = this.#dependents.get(uid);
      dependents?.delete(`${reference.storage} ${reference.key}`);
      if (dependents?.size === 0) this.#dependents.delete(uid);
    }
  }

  #enqueue(reference: Reference): void {
    this.#due.set(`${reference.storage} ${reference.key}`, reference);
    this.#timer ??= setImmediate(() => {
      this.#timer = undefined;
      const due = [...this.#due.values()];
      this.#due.clear();
      for (const entry of due) this.#visit(entry);
    });
  }

  #visit({ storage, key }: Reference): void {
    const object = this.#store.get(storage, key);
    const resource = this.#registry.ofStorage(storage);
    if (object === undefined || resource === undefined) return;
    if (!isDeleting(object)) {
      this.#collect(resource, object);
      return;
    }
    if (storage === namespaces) this.#emptyNamespace(resource, object);
    else if (storage === definitions) this.#emptyDefinition(resource, object);
    this.#runFinalizers(resource, object);
  }

  /** Garbage: every owner is gone. If only some are, the dead references go. */
  #collect(resource: Resource, object: JsonObject): void {
    const owners = ownersOf(object);
    const alive = owners.filter((owner) => this.#mayExist(owner, namespaceOf(object)));
    if (alive.length === owners.length) return;
    if (alive.length > 0) {
      this.#store.put(resource.storage, withMetadata(object, { ownerReferences: alive }));
      return;
    }
    this.#delete(resource, object);
  }

  /** Owners of kinds that are not served cannot be looked up, and are given the benefit of the doubt. */
  #mayExist(owner: JsonObject, namespace: string | undefined): boolean {
    const resource = this.#registry.ofKind(textAt(owner, "apiVersion") ?? "", textAt(owner, "kind") ?? "");
    if (resource === undefined) return true;
    const key = keyOf(resource.namespaced ? namespace : undefined, textAt(owner, "name") ?? "");
    const found = this.#store.get(resource.storage, key);
    return found !== undefined && uidOf(found) === textAt(owner, "uid");
  }

  #delete(resource: Resource, object: JsonObject): void {
    if (isDeleting(object)) return;
    const target = { resource, namespace: namespaceOf(object), name: nameOf(object) };
    this.#writer.remove(target, { dryRun: false, propagation: "Background" });
  }

  #emptyNamespace(resource: Resource, object: JsonObject): void {
    let left = 0;
    for (const inner of this.#registry.stored().filter((entry) => entry.namespaced)) {
      for (const content of this.#store.list(inner.storage, nameOf(object))) this.#delete(inner, content);
      left += this.#store.list(inner.storage, nameOf(object)).length;
    }
    if (left === 0 && finalizersOf(object).length === 0) this.#writer.settle(resource, object);
  }

  #emptyDefinition(resource: Resource, object: JsonObject): void {
    const name = nameOf(object);
    for (const inner of this.#registry.stored().filter((entry) => entry.custom?.definition === name)) {
      for (const content of this.#store.list(inner.storage)) this.#delete(inner, content);
      if (this.#store.list(inner.storage).length > 0) return;
    }
    if (finalizersOf(object).includes(cleanupFinalizer))
      this.#dropFinalizer(resource, object, cleanupFinalizer);
  }

  #runFinalizers(resource: Resource, object: JsonObject): void {
    const finalizers = finalizersOf(object);
    const dependents = [...(this.#dependents.get(uidOf(object))?.values() ?? [])];
    if (finalizers.includes("orphan")) {
      for (const dependent of dependents) this.#disown(dependent, uidOf(object));
      this.#dropFinalizer(resource, object, "orphan");
    } else if (finalizers.includes("foregroundDeletion")) {
      for (const { storage, key } of dependents) {
        const inner = this.#registry.ofStorage(storage);
        const found = this.#store.get(storage, key);
        if (inner !== undefined && found !== undefined) this.#delete(inner, found);
      }
      const left = this.#dependents.get(uidOf(object))?.size ?? 0;
      if (left === 0) this.#dropFinalizer(resource, object, "foregroundDeletion");
    }
  }

  #disown({ storage, key }: Reference, uid: string): void {
    const object = this.#store.get(storage, key);
    if (object === undefined) return;
    const ownerReferences = ownersOf(object).filter((owner) => textAt(owner, "uid") !== uid);
    this.#store.put(storage, withMetadata(object, { ownerReferences }));
  }

  #dropFinalizer(resource: Resource, object: JsonObject, finalizer: string): void {
    const finalizers = finalizersOf(object).filter((name) => name !== finalizer);
    this.#writer.settle(resource, withMetadata(object, { finalizers }));
  }
}

function ownersOf(object: JsonObject): JsonObject[] {
  return objectsAt(metadataOf(object), "ownerReferences");
}

function needsCare(object: JsonObject): boolean {
  return isDeleting(object) || ownersOf(object).length > 0;
}
