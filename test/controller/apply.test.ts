import { describe, expect, test } from "vitest";
import { planSecret, type Owner, type Plan } from "../../controller/apply.ts";
import type { KubeObject } from "../../controller/kube-api.ts";
import type { Secret } from "../../formats/secret.ts";

const owner: Owner = { apiVersion: "bitnami.com/v1alpha1", kind: "SealedSecret", name: "db", uid: "uid-1" };
const ours = { ...owner, controller: true };
const wanted: Secret = {
  metadata: { name: "db", namespace: "shop" },
  entries: new Map([["user", Buffer.from("eve")]]),
};

function live(parts: Partial<KubeObject["metadata"]> = {}, more: Record<string, unknown> = {}): KubeObject {
  const metadata = { name: "db", namespace: "shop", uid: "s", resourceVersion: "7", ...parts };
  return { apiVersion: "v1", kind: "Secret", metadata, type: "Opaque", data: { user: "ZXZl" }, ...more };
}

function updated(plan: Plan): KubeObject {
  if (plan.action !== "update") throw new Error(`plan is ${plan.action}`);
  return plan.object;
}

describe("planSecret", () => {
  test("makes what is not there, owned, with type Opaque where the template names none", () => {
    const plan = planSecret(wanted, owner, undefined);
    expect(plan).toMatchObject({
      action: "create",
      object: { type: "Opaque", data: { user: "ZXZl" }, metadata: { ownerReferences: [ours] } },
    });
  });

  test("keeps what is right, an absent template type against Opaque included", () => {
    expect(planSecret(wanted, owner, live({ ownerReferences: [ours] }))).toEqual({ action: "keep" });
  });

  test("carries the live version, so that a write based on an older state is refused", () => {
    const plan = planSecret(wanted, owner, live({ ownerReferences: [ours] }, { data: {} }));
    expect(updated(plan).metadata.resourceVersion).toBe("7");
  });

  test.each([
    ["nobody's", {}],
    ["another controller's", { ownerReferences: [{ ...ours, kind: "ExternalSecret", uid: "uid-2" }] }],
    ["another SealedSecret's", { ownerReferences: [{ ...ours, name: "other", uid: "uid-2" }] }],
    ["marked with another word than true", { annotations: { "sealedsecrets.bitnami.com/managed": "TRUE" } }],
  ])("refuses %s", (_what, metadata) => {
    expect(() => planSecret(wanted, owner, live(metadata))).toThrow(
      expect.objectContaining({ code: "NotManaged" }) as Error,
    );
  });

  test("takes over from a SealedSecret of the same name that is gone", () => {
    const plan = planSecret(wanted, owner, live({ ownerReferences: [{ ...ours, uid: "uid-0" }] }));
    expect(updated(plan).metadata.ownerReferences).toEqual([ours]);
  });

  test("without owner references: only the creator of the Secret goes on writing it", () => {
    const unowned: Secret = {
      ...wanted,
      metadata: {
        ...wanted.metadata,
        annotations: { "sealedsecrets.bitnami.com/skip-set-owner-references": "true" },
      },
    };
    const made = [
      { manager: "sealwright-controller", operation: "Update", fieldsV1: { "f:type": {}, "f:data": {} } },
    ];
    const merged = [{ manager: "sealwright-controller", operation: "Update", fieldsV1: { "f:data": {} } }];
    const plan = planSecret(unowned, owner, live({ managedFields: made }));
    expect(updated(plan).metadata.ownerReferences).toBeUndefined();
    expect(() => planSecret(unowned, owner, live({ managedFields: merged }))).toThrow();
  });

  test("immutable stays immutable, and becomes so where the template says it", () => {
    const frozen = live({ ownerReferences: [ours] }, { immutable: true });
    expect(planSecret(wanted, owner, frozen)).toEqual({ action: "keep" });
    expect(
      updated(planSecret({ ...wanted, immutable: true }, owner, live({ ownerReferences: [ours] }))),
    ).toMatchObject({ immutable: true });
  });

  test("drift names keys and the manager, never values", () => {
    const managedFields = [
      { manager: "sealwright-controller", operation: "Update", time: "2026-01-01T00:00:00Z" },
      { manager: "kubectl-edit", operation: "Update", time: "2026-01-02T00:00:00Z" },
    ];
    const edited = live(
      { ownerReferences: [ours], managedFields, labels: { a: "b" } },
      { data: { user: "Ym9i", more: "eA==" } },
    );
    const plan = planSecret(
      { ...wanted, entries: new Map([...wanted.entries, ["pass", Buffer.from("x")]]) },
      owner,
      edited,
    );
    expect(plan).toMatchObject({
      drift: {
        added: ["more"],
        changed: ["user"],
        removed: ["pass"],
        metadata: ["labels"],
        manager: "kubectl-edit",
      },
    });
  });
});
