import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { secrets, type KubeObject } from "../../controller/kube.ts";
import { leases } from "../../controller/leader.ts";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { keyLabel } from "../../controller/sealing-keys.ts";
import { isSynced } from "../../controller/status.ts";
import { startCluster, type Cluster } from "../testbed/cluster.ts";
import { startFaultProxy, type FaultProxy } from "../testbed/fault-proxy.ts";
import type { ActiveRule } from "../testbed/faults.ts";
import { eventually } from "../testbed/process.ts";
import { seed } from "../seed.ts";
import { startSubject, type Subject, type TestKey } from "./subject.ts";

const deploy = join(import.meta.dirname, "../../controller/deploy");
const account = "sealwright-controller";
const keyNamespace = "kube-system";
/** Longer than the other replica needs to take over. */
const heldMs = 22_000;

let cluster: Cluster;
let proxy: FaultProxy;
/** Leads first; under its deployed rights, and reaches the API server through the proxy. */
let first: Subject;
/** Its API access is also the test's. */
let second: Subject;
/** Old enough for a renewal to be due as soon as there is no other. */
let oldKey: TestKey;

beforeAll(async () => {
  cluster = await startCluster();
  await applyReplicas();
  const token = await cluster.serviceAccountToken(keyNamespace, account);
  proxy = await startFaultProxy({ ...cluster, token }, seed);
  const flags = ["--leader-elect"];
  const stop = (): Promise<void> => Promise.resolve();
  first = await startSubject({ kubeconfig: proxy.kubeconfig, flags, stop });
  second = await startSubject({ kubeconfig: cluster.kubeconfig, flags, stop });
});

afterAll(async () => {
  await Promise.all([first.stop(), second.stop()]);
  await proxy.stop();
  await cluster.stop();
});

async function applyReplicas(): Promise<void> {
  const directory = join(cluster.directory, "replicas");
  await mkdir(directory);
  const path = relative(directory, deploy);
  const overlay = { namespace: keyNamespace, resources: [path], components: [`${path}/components/replicas`] };
  await writeFile(join(directory, "kustomization.yaml"), JSON.stringify(overlay));
  await cluster.kubectl(["apply", "-f", "-"], await cluster.kubectl(["kustomize", directory]));
}

async function holder(): Promise<string> {
  const lease = await second.kube.get(leases, { namespace: keyNamespace, name: account });
  return (lease?.["spec"] as { holderIdentity?: string } | undefined)?.holderIdentity ?? "";
}

async function keyNames(): Promise<string[]> {
  const labelSelector = `${keyLabel}=active`;
  const { items } = await second.kube.list(secrets, { namespace: keyNamespace, labelSelector });
  return items.map(({ metadata }) => metadata.name);
}

const termsOf = ({ controller }: Subject): number => controller.logs().split(/msg="?leading/).length - 1;
const sealed = (name: string, revision: number): Promise<KubeObject> =>
  second.seal({ name, entries: { revision: String(revision) }, certificate: oldKey.certificate });

/** Every state of every Secret in the test's namespace from now on, as the revision that it holds. */
async function recordRevisions(signal: AbortSignal): Promise<Map<string, number[]>> {
  const seen = new Map<string, number[]>();
  const { namespace, kube } = second;
  const { resourceVersion } = await kube.list(secrets, { namespace });
  const watch = async (): Promise<void> => {
    const events = kube.watch(secrets, { namespace, resourceVersion, timeoutSeconds: 300, signal });
    for await (const { type, object } of events) {
      if (type === "BOOKMARK") continue;
      const revisions = seen.get(object.metadata.name) ?? [];
      seen.set(object.metadata.name, [...revisions, Number(second.values(object)["revision"])]);
    }
  };
  void watch().catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  return seen;
}

/** Lets one write of the first replica reach the API server only when the other one leads. */
function hold(verb: "create" | "update", path: RegExp): ActiveRule {
  return proxy.add({ verb, path, times: 1, fault: { kind: "delay", milliseconds: heldMs } });
}

const untilHeld = (rule: ActiveRule): Promise<true> =>
  eventually("the write to be held", () => (rule.hits > 0 ? true : undefined));

async function settled(revisions: ReadonlyMap<string, number>): Promise<void> {
  for (const [name, revision] of revisions) {
    await second.until(name, (secret) => second.values(secret)["revision"] === String(revision));
    await eventually(`status of ${name}`, async () =>
      isSynced(await second.sealedSecret(name)) ? true : undefined,
    );
  }
}

test("T45 a leader frozen in the middle of writes is followed within 20 s, writes nothing stale, and one key is made", async () => {
  expect([termsOf(first), termsOf(second)]).toEqual([1, 0]);
  const [newest] = await keyNames();
  oldKey = await second.newKey();
  await second.addKey(oldKey);
  const wanted = new Map<string, number>();
  const put = async (name: string, revision: number): Promise<void> => {
    await sealed(name, revision);
    wanted.set(name, revision);
  };
  await Promise.all(["updated", "reported", "churned-1", "churned-2"].map((name) => put(name, 1)));
  await settled(wanted);
  const watching = new AbortController();
  const revisions = await recordRevisions(watching.signal);

  const held = [
    hold("update", /\/namespaces\/default\/secrets\/updated\b/),
    hold("create", /\/namespaces\/default\/secrets\b/),
    hold("update", /\/sealedsecrets\/reported\/status\b/),
  ];
  await Promise.all(["updated", "created", "reported"].map((name) => put(name, 2)));
  await Promise.all(held.map(untilHeld));
  const heldAt = performance.now();
  first.controller.freeze();
  await second.kube.delete(secrets, { namespace: keyNamespace, name: newest! });
  for (const name of ["updated", "created", "reported"]) await put(name, 3);
  const followed = eventually("the other replica to lead", () => termsOf(second) === 1 || undefined, 20);
  for (let revision = 2; termsOf(second) === 0; revision++) {
    await Promise.race([followed, put("churned-1", revision)]);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await followed;
  await settled(wanted);
  const keys = await keyNames();

  await new Promise((resolve) => setTimeout(resolve, heldAt + heldMs + 1_000 - performance.now()));
  first.controller.thaw();
  process.kill(first.controller.pid, "SIGUSR1");
  await eventually("the first replica to notice", () => /no longer leading/.test(first.logs()) || undefined);
  for (const name of ["churned-2", "updated"]) await put(name, 4);
  await settled(wanted);
  await eventually("a new key to be refused", () => /no new sealing key/.test(first.logs()) || undefined);

  for (const [name, seen] of revisions) expect(seen, name).toEqual([...seen].sort((a, b) => a - b));
  expect([...revisions.keys()].sort()).toEqual([...wanted.keys()].sort());
  expect(keys).toHaveLength(2);
  expect(await keyNames()).toEqual(keys);
  expect([termsOf(first), termsOf(second)]).toEqual([1, 1]);
  watching.abort();
});

test("both replicas serve the same certificate, verify, and are ready", async () => {
  const object = await second.kube.get(sealedSecrets, { namespace: "default", name: "updated" });
  const body = JSON.stringify(object);
  const answers = await Promise.all(
    [first, second].map(async ({ url }) => ({
      certificate: await (await fetch(`${url}/v1/cert.pem`)).text(),
      verify: (await fetch(`${url}/v1/verify`, { method: "POST", body })).status,
      ready: (await fetch(`${url}/readyz`)).status,
    })),
  );
  const leads = [first, second].map((subject) => subject.metric(/^sealwright_leader (\d)/m));
  expect(await Promise.all(leads)).toEqual([0, 1]);
  expect(answers[0]!.certificate).toContain("BEGIN CERTIFICATE");
  expect(answers[0]).toMatchObject({ verify: 200, ready: 200 });
  expect(answers[1]).toEqual(answers[0]);
});

test("T57 a leader that is told to stop under load hands over at once, and its successor goes on", async () => {
  const before = await holder();
  const keys = await keyNames();
  const load = new Map(Array.from({ length: 40 }, (_, index) => [`load-${index}`, 1]));
  await Promise.all([...load].map(([name, revision]) => sealed(name, revision)));
  process.kill(second.controller.pid, "SIGTERM");
  await eventually("the first replica to lead again", () => termsOf(first) === 2 || undefined, 4);
  expect(await second.controller.exited).toBe(0);
  expect(await holder()).not.toBe(before);
  await sealed("updated", 5);
  await settled(load.set("updated", 5));
  expect(await keyNames()).toEqual(keys);
});
