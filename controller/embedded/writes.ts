import { randomBytes, randomUUID } from "node:crypto";
import { applied } from "./apply.ts";
import { invalidValue, required } from "./field-errors.ts";
import {
  decodeObject,
  hasGeneration,
  hasStatus,
  normaliseObject,
  objectErrors,
  updateErrors,
} from "./kinds.ts";
import { recordApply, recordUpdate, sameContent, type Author } from "./managed-fields.ts";
import {
  field,
  finalizersOf,
  isDeleting,
  isObject,
  metadataOf,
  nameOf,
  namespaceOf,
  textAt,
  timestamp,
  withMetadata,
  without,
  type Json,
  type JsonObject,
} from "./objects.ts";
import { established, serveDefinition } from "./definitions.ts";
import type { Registry, Resource } from "./resources.ts";
import { alreadyExists, badRequest, forbidden, invalid, notFound, StatusError } from "./status.ts";
import { keyOf, type Store } from "./store.ts";
import {
  carriedOver,
  checkPreconditions,
  checkVersion,
  normaliseIntent,
  withGeneration,
  type DeleteOptions,
  type Target,
  type WriteOptions,
} from "./write-rules.ts";

const alphabet = "bcdfghjklmnpqrstvwxz2456789";
/** Creates, changes and deletes objects by the rules of the API server. */
export class Writer {
  readonly #store: Store;
  readonly #registry: Registry;
  readonly #now: () => Date;

  constructor({ store, registry, now }: { store: Store; registry: Registry; now: () => Date }) {
    this.#store = store;
    this.#registry = registry;
    this.#now = now;
  }

  /** The object, if there is one. */
  find({ resource, namespace, name }: Target): JsonObject | undefined {
    return this.#store.get(resource.storage, keyOf(namespace, name));
  }

  /** The object. @throws 404 */
  get(target: Target): JsonObject {
    const object = this.find(target);
    if (object === undefined) throw notFound(target.resource, target.name);
    return object;
  }

  /** POST. @throws 400, 403, 404, 409, 422 */
  create(target: Target, body: JsonObject, options: WriteOptions): JsonObject {
    const decoded = this.#decode(target, body, options);
    const object = this.#named(target, decoded);
    if (textAt(metadataOf(decoded), "resourceVersion") !== undefined) {
      // kube-apiserver answers this one with a bare 500.
      throw new StatusError(500, "", "resourceVersion should not be set on objects to be created");
    }
    return this.#insert({ ...target, name: nameOf(object) }, object, {
      ...options,
      record: (ready) =>
        recordUpdate(target.resource, { before: undefined, after: ready }, this.#author(target, options)),
    });
  }

  /** PUT. @throws 400, 404, 409, 422 */
  update(target: Target, body: JsonObject, options: WriteOptions): JsonObject {
    const incoming = this.#decode(target, body, options);
    const name = nameOf(incoming);
    if (name !== target.name) {
      throw badRequest(
        name === ""
          ? "name must be provided"
          : `the name of the object (${name}) does not match the name on the URL (${target.name})`,
      );
    }
    if (
      target.resource.custom !== undefined &&
      textAt(metadataOf(incoming), "resourceVersion") === undefined
    ) {
      this.get(target);
      const why = "must be specified for an update";
      const cause = {
        ...invalidValue("metadata.resourceVersion", 0, why),
        message: `Invalid value: 0: ${why}`,
      };
      throw invalid(target.resource, name, [cause]);
    }
    return this.#replace(target, incoming, options);
  }

  /** PATCH, other than server-side apply. @throws 400, 404, 409, 422 */
  patch(target: Target, change: (existing: JsonObject) => Json, options: WriteOptions): JsonObject {
    const patched = change(this.get(target));
    if (!isObject(patched)) throw badRequest("the patch does not result in an object");
    return this.#replace(target, this.#decode(target, patched, options), options);
  }

  /** PATCH by server-side apply; creates the object if need be. @throws 400, 409, 422 */
  apply(
    target: Target,
    intent: JsonObject,
    { force, ...options }: WriteOptions & { force: boolean },
  ): JsonObject {
    const { resource } = target;
    if (field(metadataOf(intent), "managedFields") !== undefined) {
      throw badRequest("metadata.managedFields must be nil");
    }
    const decoded = this.#decode(target, { ...intent }, options);
    const named = withMetadata(decoded, { name: target.name });
    const wanted = normaliseIntent(
      resource,
      target.namespace === undefined ? named : withMetadata(named, { namespace: target.namespace }),
      decoded,
    );
    const author: Author = { ...this.#author(target, options), operation: "Apply" };
    const live = this.#store.get(resource.storage, keyOf(target.namespace, target.name));
    const merged = applied(resource, { live, intent: wanted }, author);
    const recorded = (object: JsonObject): JsonObject =>
      recordApply(resource, { live, applied: wanted, merged: object }, { ...author, force });
    if (live === undefined) return this.#insert(target, merged, { ...options, record: recorded });
    return this.#replace(target, this.#decode(target, merged, { ...options, fieldValidation: "Ignore" }), {
      ...options,
      record: recorded,
    });
  }

  /** DELETE: at once, or by setting deletionTimestamp if finalizers are to run first. @throws 404, 409 */
  remove(target: Target, options: DeleteOptions): { object: JsonObject; gone: boolean } {
    const { resource } = target;
    const object = this.get(target);
    checkPreconditions(target, object, options);
    const finalizer = { Orphan: "orphan", Foreground: "foregroundDeletion", Background: undefined }[
      options.propagation ?? "Background"
    ];
    const finalizers = [
      ...new Set([...finalizersOf(object), ...(finalizer === undefined ? [] : [finalizer])]),
    ];
    const held = finalizers.length > 0 || resource.kind === "Namespace";
    if (!held) {
      if (!options.dryRun) this.#store.remove(resource.storage, object);
      return { object, gone: true };
    }
    if (isDeleting(object)) return { object, gone: false };
    const marked = withMetadata(object, {
      ...(finalizers.length > 0 ? { finalizers } : {}),
      deletionTimestamp: timestamp(this.#now()),
      deletionGracePeriodSeconds: 0,
      ...(hasGeneration(resource) ? { generation: Number(metadataOf(object)["generation"] ?? 0) + 1 } : {}),
    });
    const terminating =
      resource.kind === "Namespace" ? { ...marked, status: { phase: "Terminating" } } : marked;
    if (options.dryRun) return { object: terminating, gone: false };
    return { object: this.#store.put(resource.storage, terminating), gone: false };
  }

  /** A change by the API itself, such as the end of a finalizer; an object without any left goes. */
  settle(resource: Resource, object: JsonObject): void {
    if (isDeleting(object) && finalizersOf(object).length === 0) this.#store.remove(resource.storage, object);
    else this.#store.put(resource.storage, object);
  }

  #author(target: Target, options: WriteOptions): Author {
    return {
      manager: options.manager,
      operation: "Update",
      subresource: target.subresource,
      time: timestamp(this.#now()),
    };
  }

  #decode(target: Target, body: JsonObject, options: WriteOptions): JsonObject {
    const unknown: string[] = [];
    const object = decodeObject(target.resource, body, unknown);
    const namespace = namespaceOf(object);
    if (namespace !== undefined && namespace !== target.namespace && target.resource.namespaced) {
      throw badRequest(
        "the namespace of the provided object does not match the namespace sent on the request",
      );
    }
    const texts = unknown.map((path) => `unknown field "${path}"`);
    if (texts.length > 0 && options.fieldValidation === "Strict") {
      const { kind, version } = target.resource;
      throw badRequest(
        `${kind} in version "${version}" cannot be handled as a ${kind}: strict decoding error: ${texts.join(", ")}`,
      );
    }
    if (options.fieldValidation === "Warn") options.warnings.push(...texts);
    return target.namespace === undefined ? object : withMetadata(object, { namespace: target.namespace });
  }

  #named(target: Target, object: JsonObject): JsonObject {
    const prefix = textAt(metadataOf(object), "generateName") ?? "";
    if (nameOf(object) !== "") return object;
    if (prefix === "") {
      throw invalid(target.resource, "", [required("metadata.name", "name or generateName is required")]);
    }
    for (;;) {
      const suffix = [...randomBytes(5)].map((byte) => alphabet[byte % alphabet.length]).join("");
      const name = `${prefix.slice(0, 58)}${suffix}`;
      if (this.#store.get(target.resource.storage, keyOf(target.namespace, name)) === undefined) {
        return withMetadata(object, { name });
      }
    }
  }

  #insert(
    target: Target,
    decoded: JsonObject,
    options: WriteOptions & { record: (object: JsonObject) => JsonObject },
  ): JsonObject {
    const { resource, name } = target;
    this.#checkNamespace(target);
    const metadata = without(
      metadataOf(decoded),
      "selfLink",
      "generation",
      "deletionTimestamp",
      "deletionGracePeriodSeconds",
      "resourceVersion",
    );
    const fresh = hasStatus(resource) && resource.kind !== "Pod" ? without(decoded, "status") : decoded;
    const identified = {
      ...fresh,
      metadata: {
        ...metadata,
        uid: randomUUID(),
        creationTimestamp: timestamp(this.#now()),
        ...(hasGeneration(resource) ? { generation: 1 } : {}),
      },
    };
    const object = this.#checked(resource, normaliseObject(resource, identified));
    if (this.#store.get(resource.storage, keyOf(target.namespace, name)) !== undefined) {
      throw alreadyExists(resource, name);
    }
    const recorded = options.record(object);
    return options.dryRun ? recorded : this.#stored(resource, recorded);
  }

  #stored(resource: Resource, object: JsonObject): JsonObject {
    if (resource.kind !== "CustomResourceDefinition" || isDeleting(object)) {
      return this.#store.put(resource.storage, object);
    }
    const definition = this.#store.put(resource.storage, established(object, timestamp(this.#now())));
    serveDefinition(this.#registry, definition);
    return definition;
  }

  #checked(resource: Resource, object: JsonObject): JsonObject {
    const errors = objectErrors(resource, object);
    if (errors.length > 0) throw invalid(resource, nameOf(object), errors);
    return object;
  }

  #checkNamespace({ resource, namespace, name }: Target): void {
    if (namespace === undefined) return;
    const found = this.#store.get("/namespaces", namespace);
    if (found === undefined)
      throw notFound({ group: "", plural: "namespaces", kind: "Namespace" }, namespace);
    if (!isDeleting(found)) return;
    const cause = {
      reason: "NamespaceTerminating",
      message: `namespace ${namespace} is being terminated`,
      field: "metadata.namespace",
    };
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
    throw forbidden(resource, name, { why, causes: [cause] });
  }

  #replace(
    target: Target,
    incoming: JsonObject,
    options: WriteOptions & { record?: (object: JsonObject) => JsonObject },
  ): JsonObject {
    const { resource } = target;
    const before = this.get(target);
    checkVersion(target, before, incoming);
    const next = normaliseObject(resource, carriedOver(target, before, incoming));
    const errors = [...updateErrors(resource, before, next), ...objectErrors(resource, next)];
    if (errors.length > 0) throw invalid(resource, target.name, errors);
    const record =
      options.record ??
      ((object) => recordUpdate(resource, { before, after: object }, this.#author(target, options)));
    const after = withGeneration(resource, before, record(next));
    if (sameContent(before, after)) return before;
    if (options.dryRun) return after;
    if (isDeleting(after) && finalizersOf(after).length === 0 && resource.kind !== "Namespace") {
      return this.#store.remove(resource.storage, after);
    }
    return target.subresource === undefined
      ? this.#stored(resource, after)
      : this.#store.put(resource.storage, after);
  }
}
