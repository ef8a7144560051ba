import { decodeBase64, encodeBase64 } from "../formats/base64.ts";
import { SecretError } from "../formats/errors.ts";
import { annotationPrefix, isAnnotated } from "../formats/scope.ts";
import type { Secret } from "../formats/secret.ts";
import { describeDrift, type Drift } from "./drift.ts";
import {
  fieldManager,
  secrets,
  type Kube,
  type KubeObject,
  type ObjectMeta,
  type OwnerReference,
} from "./kube-api.ts";

/** The resource that a Secret is made from. */
export interface Owner {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
}

/** What has to be done so that the cluster holds the Secret. */
export type Plan =
  | { action: "create"; object: KubeObject }
  | { action: "update"; object: KubeObject; drift: Drift }
  | { action: "keep" };

/**
 * Decides how the live Secret becomes the wanted one, by the rules of the Sealed Secrets controller: ours is replaced
 * wholesale, one annotated `patch` is merged into, one that is neither ours nor annotated is refused.
 * @throws SecretError `NotManaged`
 * @see docs/formats/sealed-secret.md, section "Opening"
 */
export function planSecret(wanted: Secret, owner: Owner, live: KubeObject | undefined): Plan {
  const references = skipsOwner(wanted) ? undefined : [controllerReference(owner)];
  if (live === undefined) return { action: "create", object: newSecret(wanted, references) };
  const mayPatch = isAnnotated(live.metadata, "patch");
  if (!isOurs(live, owner, wanted) && !isAnnotated(live.metadata, "managed") && !mayPatch) {
    const message = `Resource "${live.metadata.name}" already exists and is not managed by SealedSecret`;
    throw new SecretError("NotManaged", message, {
      hint: `annotate the Secret with ${annotationPrefix}managed=true to let it be replaced, or delete it`,
    });
  }
  const object = mayPatch ? merged(live, wanted, references) : replaced(live, wanted, references);
  const drift = describeDrift(live, object);
  return drift === undefined ? { action: "keep" } : { action: "update", object, drift };
}

/**
 * Carries out a plan with one write; an update carries the version it was decided on, so that a stale one loses.
 * @returns the Secret's resource version afterwards; `undefined` where nothing was written
 * @throws SecretError as {@link Kube}
 */
export async function applyPlan(kube: Kube, plan: Plan): Promise<string | undefined> {
  if (plan.action === "keep") return undefined;
  const write =
    plan.action === "create" ? kube.create(secrets, plan.object) : kube.update(secrets, plan.object);
  return (await write).metadata.resourceVersion;
}

/** The decoded entries of a live Secret; values that are not base64 do not occur there. */
export function liveEntries(live: KubeObject): Map<string, Uint8Array> {
  const data = (live["data"] ?? {}) as Record<string, string>;
  return new Map(Object.entries(data).map(([name, text]) => [name, decodeBase64(text) ?? new Uint8Array()]));
}

function skipsOwner(wanted: Secret): boolean {
  return isAnnotated(wanted.metadata, "skip-set-owner-references");
}

/**
 * Ours: owned by this object, or by one of the same name that is gone (deleted and made again before its Secret was
 * collected), or made by us without an owner because the template asked for that.
 */
function isOurs(live: KubeObject, owner: Owner, wanted: Secret): boolean {
  const controller = live.metadata.ownerReferences?.find((reference) => reference.controller === true);
  if (controller !== undefined) {
    const sameName =
      controller.kind === owner.kind &&
      controller.name === owner.name &&
      controller.apiVersion === owner.apiVersion;
    return controller.uid === owner.uid || sameName;
  }
  return skipsOwner(wanted) && wasCreatedByUs(live);
}

/** Only the creator of a Secret owns its `type`, which cannot change afterwards. */
function wasCreatedByUs(live: KubeObject): boolean {
  return (live.metadata.managedFields ?? []).some(
    ({ manager, fieldsV1 }) =>
      manager === fieldManager && typeof fieldsV1 === "object" && fieldsV1 !== null && "f:type" in fieldsV1,
  );
}

function controllerReference({ apiVersion, kind, name, uid }: Owner): OwnerReference {
  return { apiVersion, kind, name, uid, controller: true };
}

function newSecret(wanted: Secret, ownerReferences: OwnerReference[] | undefined): KubeObject {
  const { name = "", namespace, labels, annotations, finalizers } = wanted.metadata;
  const metadata: ObjectMeta = { name, namespace, labels, annotations, ownerReferences };
  if (Array.isArray(finalizers)) metadata.finalizers = finalizers as string[];
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata,
    data: encodedEntries(wanted),
    type: wanted.type ?? "Opaque",
    ...(wanted.immutable === undefined ? {} : { immutable: wanted.immutable }),
  };
}

function replaced(
  live: KubeObject,
  wanted: Secret,
  ownerReferences: OwnerReference[] | undefined,
): KubeObject {
  const { labels, annotations } = wanted.metadata;
  return {
    ...live,
    metadata: { ...live.metadata, labels, annotations, ownerReferences },
    data: encodedEntries(wanted),
    ...typeAndImmutability(live, wanted),
  };
}

function merged(live: KubeObject, wanted: Secret, ownerReferences: OwnerReference[] | undefined): KubeObject {
  const metadata: ObjectMeta = {
    ...live.metadata,
    labels: { ...live.metadata.labels, ...wanted.metadata.labels },
    annotations: { ...live.metadata.annotations, ...wanted.metadata.annotations },
  };
  if (metadata.annotations?.[`${annotationPrefix}managed`] === "true")
    metadata.ownerReferences = ownerReferences;
  const data = { ...(live["data"] as Record<string, string> | undefined), ...encodedEntries(wanted) };
  return { ...live, metadata, data, ...typeAndImmutability(live, wanted) };
}

/** Once immutable, a Secret stays so: the API server refuses the way back, and the entries may still be right. */
function typeAndImmutability(live: KubeObject, wanted: Secret): { type: unknown; immutable?: boolean } {
  const type = wanted.type ?? live["type"] ?? "Opaque";
  return live["immutable"] === true || wanted.immutable === true ? { type, immutable: true } : { type };
}

function encodedEntries(wanted: Secret): Record<string, string> {
  return Object.fromEntries([...wanted.entries].map(([name, value]) => [name, encodeBase64(value)]));
}
