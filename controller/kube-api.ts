/** The name under which the API server records our writes. */
export const fieldManager = "sealwright-controller";

/** What every Kubernetes object carries; only the fields that Sealwright reads or writes are spelt out. */
export interface ObjectMeta {
  name: string;
  namespace?: string | undefined;
  uid?: string | undefined;
  /** Opaque; compare for equality only. Carried back by an update, it makes a stale write lose. */
  resourceVersion?: string | undefined;
  generation?: number | undefined;
  labels?: Record<string, string> | undefined;
  annotations?: Record<string, string> | undefined;
  ownerReferences?: OwnerReference[] | undefined;
  finalizers?: string[] | undefined;
  generateName?: string | undefined;
  /** RFC 3339, UTC, whole seconds. */
  creationTimestamp?: string | undefined;
  /** RFC 3339; present once deletion was asked for and finalizers or grace hold it back. */
  deletionTimestamp?: string | undefined;
  managedFields?: ManagedFields[] | undefined;
  [field: string]: unknown;
}

/** One entry of `metadata.ownerReferences`. */
export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean | undefined;
  blockOwnerDeletion?: boolean | undefined;
}

/** One entry of `metadata.managedFields`: which program last set which fields. */
export interface ManagedFields {
  manager?: string;
  operation?: string;
  time?: string;
  subresource?: string;
  fieldsV1?: unknown;
}

/** Any object, as the API server sends and takes it. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  [field: string]: unknown;
}

/** A kind as the API serves it. The concept that owns a kind owns its row. */
export interface Resource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  /** The URL's word, lower case. */
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** core/v1 Secret. */
export const secrets: Resource = core("secrets", "Secret");
/** core/v1 Event. */
export const events: Resource = core("events", "Event");
/** core/v1 Namespace. */
export const namespaces: Resource = { ...core("namespaces", "Namespace"), namespaced: false };

function core(plural: string, kind: string): Resource {
  return { group: "", version: "v1", plural, kind, namespaced: true };
}

/** Names one object. */
export interface ObjectRef {
  name: string;
  /** Required for namespaced kinds. */
  namespace?: string | undefined;
}

/** For every call. */
export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** Bounds the call, body included; 30,000 by default, 120,000 for a list. */
  timeoutMs?: number | undefined;
}

/** What a list or watch covers. */
export interface Selection {
  /** Absent: every namespace. */
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  /** Ask for `PartialObjectMetadata`: the server leaves out everything but the metadata. */
  metadataOnly?: boolean | undefined;
}

/** One page of a list. */
export interface ListOptions extends Selection, CallOptions {
  /** Most items in one page. */
  limit?: number | undefined;
  /** The token of the page before. */
  continue?: string | undefined;
}

/** A page, with the version to watch from. */
export interface KubeList {
  items: KubeObject[];
  resourceVersion: string;
  /** Present if there are more pages. */
  continue?: string | undefined;
}

/** A watch from one version on. */
export interface WatchOptions extends Selection {
  resourceVersion: string;
  /** The server ends the stream cleanly after this. */
  timeoutSeconds: number;
  /** Silence for this much longer than `timeoutSeconds` is a stall; 8,000 by default. */
  slackMs?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Called when the server has accepted the watch, which on a quiet resource is long before the first event. */
  onOpen?: (() => void) | undefined;
}

/** A change, or a bookmark: an object with nothing but its new `resourceVersion`. */
export interface WatchEvent {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  object: KubeObject;
}

/** A change of some fields. */
export interface Patch {
  /** The patch document. */
  body: unknown;
  /** `application/merge-patch+json` by default. */
  contentType?: string;
  subresource?: string;
}

/** Conditions on a delete: the server refuses (Conflict) if the object is another one by now. */
export interface Preconditions {
  uid?: string | undefined;
  resourceVersion?: string | undefined;
}

/**
 * The Kubernetes API, as much as the controller needs. Every failure is a `SecretError`, whose message names verb, kind
 * and object and never holds the remote body:
 * `Forbidden` (401, 403), `NotFound` (404 where absence isn't an answer: kind not served, namespace missing),
 * `Conflict` (409), `Expired` (410: list again), `Rejected` (400, 413, 422), `ImmutableSecret`, `Throttled` (429, after a
 * few retries in place), `RemoteUnavailable` (5xx, network, deadline, cancelled, unreadable answer).
 */
export interface Kube {
  /** Namespace of the kubeconfig context or of the service account; absent if neither names one. */
  readonly defaultNamespace: string | undefined;
  /** The object, or `undefined` if the server says that exactly this object is not there. */
  get(resource: Resource, ref: ObjectRef, options?: CallOptions): Promise<KubeObject | undefined>;
  list(resource: Resource, options?: ListOptions): Promise<KubeList>;
  /**
   * Changes after `resourceVersion`, bookmarks included, read only as fast as they are consumed. Ends when the server
   * ends it cleanly.
   * @throws Expired if the version is too old, RemoteUnavailable if the stream is cut, stalls or is not readable.
   */
  watch(resource: Resource, options: WatchOptions): AsyncIterable<WatchEvent>;
  create(resource: Resource, object: KubeObject, options?: CallOptions): Promise<KubeObject>;
  /** PUT; conditional if the object carries a `resourceVersion`. */
  update(resource: Resource, object: KubeObject, options?: CallOptions): Promise<KubeObject>;
  /** PUT of the `status` subresource. */
  updateStatus(resource: Resource, object: KubeObject, options?: CallOptions): Promise<KubeObject>;
  patch(resource: Resource, ref: ObjectRef, patch: Patch & CallOptions): Promise<KubeObject>;
  /** True if this call deleted it, false if it was gone before. */
  delete(resource: Resource, ref: ObjectRef, options?: Preconditions & CallOptions): Promise<boolean>;
  /** Drops idle and open connections. */
  close(): void;
}

/** One finished request, for metrics. */
export interface RequestRecord {
  /** `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`. */
  verb: string;
  /** The plural, and the subresource after a slash. */
  resource: string;
  /** HTTP status; 0 if no answer came. */
  status: number;
  /** To the last byte; for a watch, to the head of the answer. */
  durationMs: number;
}

/** `namespace/name`, or the name alone where there is no namespace: the key of caches and queues. */
export function keyOf(ref: ObjectRef): string {
  return ref.namespace === undefined || ref.namespace === "" ? ref.name : `${ref.namespace}/${ref.name}`;
}

/** The inverse of {@link keyOf}. */
export function refOf(key: string): ObjectRef {
  const slash = key.indexOf("/");
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
