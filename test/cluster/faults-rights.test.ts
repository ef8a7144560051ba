import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../testbed/process.ts";
import { recoverySeconds, startFaultRig, type FaultRig } from "./fault-rig.ts";
import type { Manifest } from "./granted-rules.ts";

let rig: FaultRig;

beforeAll(async () => {
  rig = await startFaultRig();
});

afterAll(() => rig.stop());

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

/** Applies a role of the deployment with a verb less on one resource. */
async function applyRole(name: string, without?: { resource: string; verb: string }): Promise<void> {
  const role = rig.manifests.find(({ kind, metadata }) => kind === "ClusterRole" && metadata.name === name);
  if (role === undefined) throw new Error(`no ClusterRole ${name} is deployed`);
  const rules = (role["rules"] as Rule[]).map((rule) =>
    rule.resources.includes(without?.resource ?? "")
      ? { ...rule, verbs: rule.verbs.filter((verb) => verb !== without?.verb) }
      : rule,
  );
  const applied: Manifest = { ...role, rules: rules.filter(({ verbs }) => verbs.length > 0) };
  await rig.cluster.kubectl(["apply", "-f", "-"], JSON.stringify(applied));
}

/** Ends the watches on a path, and lets their successors find that they must list first. */
function forceList(path: RegExp): void {
  rig.proxy.add({ verb: "watch", path, times: 1, fault: { kind: "answer", status: 410 } });
  rig.proxy.cutAll();
}

const sealedPath = /^\/apis\/bitnami.com\/v1alpha1\/sealedsecrets/;
const secretsPath = /^\/api\/v1\/secrets/;
const some = (): string => rig.expected.names[0] ?? "";

/** What needs the right: begun after it is gone. */
const needs: [role: string, verb: string, resource: string, act: () => unknown][] = [
  ["read-sealed-secrets", "list", "sealedsecrets", () => forceList(sealedPath)],
  ["read-sealed-secrets", "watch", "sealedsecrets", () => rig.proxy.cutAll()],
  ["read-sealed-secrets", "update", "sealedsecrets/status", () => rig.expected.seal()],
  ["write-secrets", "list", "secrets", () => forceList(secretsPath)],
  ["write-secrets", "watch", "secrets", () => rig.proxy.cutAll()],
  ["write-secrets", "get", "secrets", () => rig.expected.edit(some())],
  ["write-secrets", "create", "secrets", () => rig.expected.seal()],
  ["write-secrets", "update", "secrets", () => rig.expected.edit(some())],
];

describe("T56: a right that is taken away is named by verb and resource, and work goes on when it is back", () => {
  test.each(needs)("%s: %s %s", async (role, verb, resource, act) => {
    const { subject, expected } = rig;
    await expected.seal();
    await expected.untilRight();
    const mark = subject.logs().length;
    await applyRole(`sealwright-${role}`, { verb, resource });
    await act();
    const refusal = new RegExp(`${verb} ${resource.replace("/", "[^ ]*/")}.*not allowed \\(403\\)`);
    await eventually(
      `a line that names ${verb} ${resource}`,
      () => refusal.test(subject.logs().slice(mark)) || undefined,
      recoverySeconds,
    );
    await applyRole(`sealwright-${role}`);
    await expected.seal();
    await expected.untilRight();
  });

  test("a condition repeats the refusal, with the right to grant", async () => {
    const { subject, expected } = rig;
    await applyRole("sealwright-write-secrets", { verb: "create", resource: "secrets" });
    const name = await expected.seal();
    const [synced] = subject.conditions(await subject.failed(name, "Forbidden"));
    expect(synced?.message).toContain('allow verb "create" on resource "secrets" in API group ""');
    await applyRole("sealwright-write-secrets");
    await expected.untilRight();
  });

  test("without the right to write events, Secrets and conditions are right all the same", async () => {
    const { expected } = rig;
    for (const verb of ["create", "patch"]) {
      await applyRole("sealwright-report-events", { verb, resource: "events" });
      await expected.seal();
      await expected.untilRight();
    }
    await applyRole("sealwright-report-events");
  });
});
