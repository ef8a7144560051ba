import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadKube, secrets, type Kube, type KubeObject } from "../../controller/kube.ts";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { keyLabel } from "../../controller/sealing-keys.ts";
import { withScope, type Scope } from "../../formats/scope.ts";
import { seal } from "../../formats/seal.ts";
import { sealedSecretManifest } from "../../formats/sealed-secret.ts";
import { parseCertificate } from "../../formats/sealing-certificate.ts";
import type { Secret } from "../../formats/secret.ts";
import { startCluster, type Cluster } from "../testbed/cluster.ts";
import { eventually, freePort, launch } from "../testbed/process.ts";
import { startUpstreamController } from "../testbed/upstream.ts";

/** The way of docs/migration-from-kubeseal.md, with the real controller of Sealed Secrets on the other side. */

const namespace = "default";
const keyFlags = ["--key-size=2048"];

let cluster: Cluster;
let admin: Kube;

beforeAll(async () => {
  cluster = await startCluster();
  await cluster.kubectl(["apply", "-k", join(import.meta.dirname, "../../controller/deploy")]);
  admin = await loadKube({ kubeconfig: cluster.kubeconfig, env: {}, userAgent: "test/1" });
});

afterAll(async () => {
  admin.close();
  await cluster.stop();
});

interface RunningController {
  httpPort: number;
  stop: () => Promise<void>;
}

async function startOurs(): Promise<RunningController> {
  const [httpPort, metricsPort] = [await freePort(), await freePort()];
  const kubeconfig = await cluster.kubeconfigFor("kube-system", "sealwright-controller");
  const running = launch({
    program: process.execPath,
    args: [
      "controller/main.ts",
      `--kubeconfig=${kubeconfig}`,
      `--listen-addr=127.0.0.1:${httpPort}`,
      `--listen-metrics-addr=127.0.0.1:${metricsPort}`,
      ...keyFlags,
    ],
    env: { POD_NAMESPACE: "kube-system" },
    logFile: join(cluster.directory, "controller.log"),
  });
  await eventually("our controller to be ready", async () => {
    const answer = await fetch(`http://127.0.0.1:${httpPort}/readyz`).catch(() => undefined);
    return answer?.ok === true || undefined;
  });
  return { httpPort, stop: () => running.stop() };
}

async function certificateOf({ httpPort }: RunningController): Promise<string> {
  return (await fetch(`http://127.0.0.1:${httpPort}/v1/cert.pem`)).text();
}

function secretNamed(name: string, more: Partial<Secret> = {}, scope: Scope = "strict"): Secret {
  const metadata = { name, namespace, ...more.metadata };
  const annotations = withScope(metadata.annotations, scope);
  const entries = new Map([["password", Buffer.from(`value of ${name}`)]]);
  return { entries, ...more, metadata: { ...metadata, annotations } };
}

/** One of each kind that the two could treat in different ways. */
const present: readonly Secret[] = [
  secretNamed("plain", { type: "Opaque" }),
  secretNamed("untyped"),
  secretNamed("binary", {
    entries: new Map([
      ["bytes", Uint8Array.of(0, 255, 128, 10)],
      ["empty", new Uint8Array()],
    ]),
  }),
  secretNamed("labelled", {
    metadata: { labels: { app: "web" }, annotations: { "example.org/owner": "team" } },
  }),
  secretNamed("immutable", { immutable: true, type: "Opaque" }),
  secretNamed("namespace-wide", {}, "namespace-wide"),
  secretNamed("cluster-wide", {}, "cluster-wide"),
];

async function create(secret: Secret, certificatePem: string): Promise<void> {
  const sealed = await seal(secret, { certificate: parseCertificate(certificatePem) });
  await admin.create(sealedSecrets, sealedSecretManifest(sealed) as unknown as KubeObject);
}

/** All Secrets in the namespace, as soon as there are so many. Their versions tell whether anyone wrote to them. */
async function secretsOf(count: number): Promise<KubeObject[]> {
  return eventually(`${count} Secrets`, async () => {
    const { items } = await admin.list(secrets, { namespace });
    return items.length === count ? items : undefined;
  });
}

interface Status {
  conditions?: { type: string; status: string }[];
}

async function whenObserved(condition: string): Promise<void> {
  await eventually(`${condition} on every SealedSecret`, async () => {
    const { items } = await admin.list(sealedSecrets, { namespace });
    const all = items.every((item) => {
      const { conditions = [] } = (item["status"] ?? {}) as Status;
      return conditions.some(({ type, status }) => type === condition && status === "True");
    });
    return all || undefined;
  });
}

const versions = (objects: readonly KubeObject[]): string[] =>
  objects
    .map(({ metadata }) => `${metadata.name} ${metadata.uid ?? ""} ${metadata.resourceVersion ?? ""}`)
    .sort();

async function keyNames(): Promise<string[]> {
  const { items } = await admin.list(secrets, { namespace: "kube-system", labelSelector: keyLabel });
  return items.map(({ metadata }) => metadata.name);
}

test("the controllers change places, there and back: same keys, same certificate, no Secret is written", async () => {
  let running: RunningController = await startUpstreamController(cluster, { flags: keyFlags });
  const certificate = await certificateOf(running);
  for (const secret of present) await create(secret, certificate);
  const before = await secretsOf(present.length);
  const keys = await keyNames();
  await whenObserved("Synced");
  await running.stop();

  running = await startOurs();
  await whenObserved("Ready");
  expect(await certificateOf(running)).toBe(certificate);
  expect(versions(await secretsOf(present.length))).toEqual(versions(before));
  await create(secretNamed("made-by-ours"), certificate);
  const after = await secretsOf(present.length + 1);
  await whenObserved("Ready");
  await running.stop();

  running = await startUpstreamController(cluster, { flags: keyFlags });
  await create(secretNamed("made-at-last"), certificate);
  const made = await secretsOf(present.length + 2);
  await whenObserved("Synced");
  expect(await certificateOf(running)).toBe(certificate);
  await running.stop();
  const kept = made.filter(({ metadata }) => metadata.name !== "made-at-last");
  expect(versions(kept)).toEqual(versions(after));
  expect(await keyNames()).toEqual(keys);
});
