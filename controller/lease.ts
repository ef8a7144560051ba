import type { KubeObject } from "./kube-api.ts";

/** What a candidate knows of the Lease from its own looks; all times are of its own monotonic clock, in ms. */
export interface Sighting {
  /** `undefined`: there was no Lease. */
  version: string | undefined;
  /** Who holds it, or held it when it was last there; empty: nobody. */
  holder: string;
  /** How long the holder says that the lease is good for. */
  durationMs: number;
  /** When this version was first seen. It was written then or before, never later. */
  since: number;
}

interface LeaseSpec {
  holderIdentity?: string;
  leaseDurationSeconds?: number;
  acquireTime?: string;
  renewTime?: string;
  leaseTransitions?: number;
}

/**
 * Takes a look in. A version that was seen before keeps its time: only a change starts the holder's time anew. A Lease that
 * somebody deleted still protects its holder, who may not have noticed.
 */
export function sight(before: Sighting | undefined, lease: KubeObject | undefined, now: number): Sighting {
  if (lease === undefined) return { holder: "", durationMs: 0, since: now, ...before, version: undefined };
  const version = lease.metadata.resourceVersion;
  if (before !== undefined && before.version === version) return before;
  const { holderIdentity = "", leaseDurationSeconds = 0 } = specOf(lease);
  return { version, holder: holderIdentity, durationMs: leaseDurationSeconds * 1000, since: now };
}

/**
 * From when on a candidate may write itself in: at once where the lease is its own or nobody's, else when it was not renewed
 * for its whole length.
 */
export function claimableAt(
  { holder, durationMs, since }: Sighting,
  { identity, leaseMs }: { identity: string; leaseMs: number },
): number {
  return holder === "" || holder === identity ? -Infinity : since + Math.max(leaseMs, durationMs);
}

/** The Lease with a holder written in, on the version that was seen. @param at for people; nothing goes by it */
export function claimed(
  lease: KubeObject | undefined,
  { identity, leaseMs, at }: { identity: string; leaseMs: number; at: Date },
): KubeObject {
  const before = lease === undefined ? {} : specOf(lease);
  const isSame = before.holderIdentity === identity;
  const spec: LeaseSpec = {
    holderIdentity: identity,
    leaseDurationSeconds: leaseMs / 1000,
    acquireTime: (isSame ? before.acquireTime : undefined) ?? microTime(at),
    renewTime: microTime(at),
    leaseTransitions: (before.leaseTransitions ?? 0) + (isSame || lease === undefined ? 0 : 1),
  };
  return { ...lease, metadata: lease?.metadata ?? { name: "" }, spec };
}

/** The Lease given up. Its length must be positive; it means nothing without a holder. */
export function released(lease: KubeObject, at: Date): KubeObject {
  const { leaseTransitions = 0 } = specOf(lease);
  const spec: LeaseSpec = {
    holderIdentity: "",
    leaseDurationSeconds: 1,
    renewTime: microTime(at),
    leaseTransitions,
  };
  return { ...lease, spec };
}

function specOf(lease: KubeObject): LeaseSpec {
  return lease["spec"] ?? {};
}

/** Kubernetes reads exactly six digits. */
function microTime(at: Date): string {
  return at.toISOString().replace("Z", "000Z");
}
