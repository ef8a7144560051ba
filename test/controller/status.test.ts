import { describe, expect, test } from "vitest";
import type { KubeObject } from "../../controller/kube-api.ts";
import { nextStatus, type Outcome } from "../../controller/status.ts";
import { codes, SecretError, type ErrorCode } from "../../formats/errors.ts";

const object: KubeObject = {
  kind: "SealedSecret",
  metadata: { name: "db", namespace: "shop", generation: 3 },
};
const early = new Date("2026-01-01T00:00:00.123Z");
const later = new Date("2026-01-02T00:00:00.456Z");
const good: Outcome = { result: "unchanged" };
const failed = (code: ErrorCode): Outcome => ({
  result: "failed",
  error: new SecretError(code, "what happened", { hint: "what to do" }),
});

function after(outcomes: [Outcome, Date][]): ReturnType<typeof nextStatus> {
  let status: ReturnType<typeof nextStatus> | undefined;
  for (const [outcome, at] of outcomes)
    status = nextStatus(status === undefined ? object : { ...object, status }, outcome, at);
  return status!;
}

/** Argo CD's health of a SealedSecret: the first condition alone decides. */
function argoHealth(status: ReturnType<typeof nextStatus>): string {
  const [first] = status.conditions;
  if (first?.type !== "Synced") return "Progressing";
  return first.status === "False" ? "Degraded" : "Healthy";
}

/** The verdict of kstatus, by which Flux and Helm wait. */
function kstatus({ observedGeneration, conditions }: ReturnType<typeof nextStatus>): string {
  const is = (type: string, status: string): boolean =>
    conditions.some((c) => c.type === type && c.status === status);
  if (observedGeneration !== object.metadata.generation) return "InProgress";
  if (is("Stalled", "True")) return "Failed";
  return is("Ready", "True") ? "Current" : "InProgress";
}

describe("nextStatus", () => {
  test("success: Synced first, Ready, nothing else; Argo CD and kstatus agree", () => {
    const status = after([[good, early]]);
    expect(status.conditions.map(({ type, status: state, message }) => [type, state, message])).toEqual([
      ["Synced", "True", ""],
      ["Ready", "True", ""],
    ]);
    expect([argoHealth(status), kstatus(status)]).toEqual(["Healthy", "Current"]);
  });

  test.each(Object.entries(codes).map(([code, row]) => [code as ErrorCode, row.retry]))(
    "failure %s (retry %s)",
    (code, retry) => {
      const status = after([[failed(code), early]]);
      expect(status.conditions[0]).toMatchObject({
        type: "Synced",
        status: "False",
        reason: code,
        message: "what happened: what to do",
      });
      expect(argoHealth(status)).toBe("Degraded");
      expect(kstatus(status)).toBe(retry === "never" ? "Failed" : "InProgress");
    },
  );

  test("the transition time moves when the status does, the update time when anything does", () => {
    const again = after([
      [good, early],
      [good, later],
    ]).conditions[0];
    expect(again).toMatchObject({
      lastTransitionTime: "2026-01-01T00:00:00Z",
      lastUpdateTime: "2026-01-01T00:00:00Z",
    });
    const other = after([
      [failed("NotManaged"), early],
      [failed("Rejected"), later],
    ]).conditions[0];
    expect(other).toMatchObject({
      lastTransitionTime: "2026-01-01T00:00:00Z",
      lastUpdateTime: "2026-01-02T00:00:00Z",
    });
    const flipped = after([
      [failed("NotManaged"), early],
      [good, later],
    ]).conditions[0];
    expect(flipped).toMatchObject({ lastTransitionTime: "2026-01-02T00:00:00Z" });
  });

  test("Stalled goes when the failure does; conditions of other programs stay, behind ours", () => {
    const foreign = { type: "Audited", status: "True" as const, lastTransitionTime: "", lastUpdateTime: "" };
    const before = {
      ...object,
      status: { conditions: [foreign, ...after([[failed("CannotUnseal"), early]]).conditions] },
    };
    expect(nextStatus(before, good, later).conditions.map(({ type }) => type)).toEqual([
      "Synced",
      "Ready",
      "Audited",
    ]);
  });
});
