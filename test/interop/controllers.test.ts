import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadKube, secrets, type Kube, type KubeObject } from "../../controller/kube.ts";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { keyLabel } from "../../controller/sealing-keys.ts";
import { readManifests, toJson, toYaml, type JsonObject } from "../../formats/manifest.ts";
import { seed } from "../seed.ts";
import { startCluster, type Cluster } from "../testbed/cluster.ts";
import { eventually, freePort, launch } from "../testbed/process.ts";
import { startUpstreamController } from "../testbed/upstream.ts";
import { meaningOf, secretCase } from "./generate-secret.ts";
import { documents, inParallel, keys, kubeseal, sealwright, type KeyFiles } from "./kubeseal.ts";

/** Generated Secrets, sealed by each side's program and opened by each side's running controller. */

const count = 1000;
const namespaces = ["one", "two", "0123", "null"];
const requestsAtOnce = 16;

let cluster: Cluster;
let admin: Kube;

beforeAll(async () => {
  cluster = await startCluster();
  await cluster.kubectl(["apply", "-k", join(import.meta.dirname, "../../controller/deploy")]);
  admin = await loadKube({ kubeconfig: cluster.kubeconfig, env: {}, userAgent: "test/1" });
  for (const name of namespaces) await cluster.kubectl(["create", "namespace", name]);
  for (const [index, key] of keys.entries()) await installKey(`sealed-secrets-key${index}`, key);
});

afterAll(async () => {
  admin.close();
  await cluster.stop();
});

async function installKey(name: string, { keyFile, certificateFile }: KeyFiles): Promise<void> {
  await admin.create(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, namespace: "kube-system", labels: { [keyLabel]: "active" } },
    type: "kubernetes.io/tls",
    data: {
      "tls.key": readFileSync(keyFile, "base64"),
      "tls.crt": readFileSync(certificateFile, "base64"),
    },
  });
}

/** A generated Secret that an API server accepts, and what must become of it. */
interface Case {
  /** Where it is put; a cluster-wide one may not say so itself. */
  namespace: string;
  manifest: JsonObject;
  expected: JsonObject;
}

interface Parts extends JsonObject {
  metadata: JsonObject & { name: string; namespace?: string };
  data: Record<string, string>;
}

/** What the API server asks of Secrets of its own types. */
const required: Record<string, Record<string, string>> = {
  "kubernetes.io/tls": { "tls.crt": "", "tls.key": "" },
  "kubernetes.io/dockerconfigjson": { ".dockerconfigjson": Buffer.from("{}").toString("base64") },
};

const acceptable = fc.tuple(secretCase, fc.constantFrom(...namespaces)).map(([generated, namespace]) => ({
  generated,
  namespace,
}));

function cases(): Case[] {
  return fc.sample(acceptable, { seed, numRuns: count }).map(({ generated, namespace }, index) => {
    const manifest = generated.manifest as Parts;
    const kept = generated.kept as Parts;
    const type = (manifest["type"] ?? "Opaque") as string;
    const own = { ...required[type] };
    const place = manifest.metadata.namespace === undefined ? {} : { namespace };
    const name = `${manifest.metadata.name.slice(0, 200)}.${index}`;
    const stringData = manifest["stringData"] as Record<string, string> | undefined;
    return {
      namespace,
      manifest: {
        ...manifest,
        metadata: { ...manifest.metadata, name, ...place },
        data: { ...manifest.data, ...own },
        ...(stringData === undefined ? {} : { stringData: without(stringData, own) }),
      },
      expected: summaryOf({
        ...kept,
        type,
        metadata: { ...kept.metadata, name, namespace },
        data: { ...kept.data, ...own },
      }),
    };
  });
}

function without(map: Record<string, string>, names: object): Record<string, string> {
  return Object.fromEntries(Object.entries(map).filter(([name]) => !Object.hasOwn(names, name)));
}

/** What two Secrets must have in common. */
function summaryOf({ metadata, type, immutable, data }: JsonObject): JsonObject {
  const { name, namespace, labels, annotations, finalizers } = metadata as JsonObject;
  return meaningOf({ name, namespace, labels, annotations, finalizers, type, immutable, data: data ?? {} });
}

interface Batch {
  side: "kubeseal" | "ours";
  key: KeyFiles;
  form: "json" | "yaml";
  cases: Case[];
}

/** Half of the Secrets for each side, mostly to keys of 2048 bits, which are quick to open. */
function batches(all: readonly Case[]): Batch[] {
  const [small, second, middle, large] = keys as [KeyFiles, KeyFiles, KeyFiles, KeyFiles];
  const shares = [
    { key: small, form: "json", size: 200 },
    { key: second, form: "yaml", size: 200 },
    { key: middle, form: "json", size: 60 },
    { key: large, form: "yaml", size: 40 },
  ] as const;
  let taken = 0;
  return (["kubeseal", "ours"] as const).flatMap((side) =>
    shares.map(({ key, form, size }) => ({ side, key, form, cases: all.slice(taken, (taken += size)) })),
  );
}

/** Seals a batch with one process. */
async function sealBatch({ side, key, form, cases: all }: Batch): Promise<KubeObject[]> {
  const manifests = all.map(({ manifest }) => manifest);
  const input = form === "json" ? manifests.map(toJson).join("") : documents(manifests.map(toYaml));
  const flags = ["--cert", key.certificateFile, "--allow-empty-data"];
  const output =
    side === "kubeseal"
      ? await kubeseal(flags, input)
      : await sealwright(["seal", "--format", form, "--allow-exposed-values", ...flags], input);
  const sealed = readManifests(Buffer.from(output));
  expect(sealed).toHaveLength(all.length);
  return sealed.map(({ object }, index) => {
    const { metadata, ...rest } = object as KubeObject;
    return { ...rest, metadata: { ...metadata, namespace: all[index]!.namespace } };
  });
}

interface RunningController {
  stop: () => Promise<void>;
}

async function startOurs(): Promise<RunningController> {
  const [httpPort, metricsPort] = [await freePort(), await freePort()];
  const kubeconfig = await cluster.kubeconfigFor("kube-system", "sealwright-controller");
  return launch({
    program: process.execPath,
    args: [
      "controller/main.ts",
      `--kubeconfig=${kubeconfig}`,
      `--listen-addr=127.0.0.1:${httpPort}`,
      `--listen-metrics-addr=127.0.0.1:${metricsPort}`,
    ],
    env: { POD_NAMESPACE: "kube-system" },
    logFile: join(cluster.directory, "controller.log"),
  });
}

interface Opened {
  secrets: Map<string, KubeObject>;
  /** By name, of the SealedSecrets. */
  uids: Map<string, string | undefined>;
}

/** Has one controller open all of them, and leaves the namespaces empty. */
async function opened(
  sealed: readonly KubeObject[],
  start: () => Promise<RunningController>,
): Promise<Opened> {
  const created = await inParallel(sealed, (object) => admin.create(sealedSecrets, object), requestsAtOnce);
  const controller = await start();
  const made = await eventually("a Secret of every SealedSecret", allSecrets, 120).finally(() =>
    reportFailures().finally(() => controller.stop()),
  );
  await inParallel(sealed, ({ metadata }) => admin.delete(sealedSecrets, metadata), requestsAtOnce);
  await inParallel(made, remove, requestsAtOnce);
  return {
    secrets: new Map(made.map((secret) => [secret.metadata.name, secret])),
    uids: new Map(created.map(({ metadata }) => [metadata.name, metadata.uid])),
  };
}

async function allSecrets(): Promise<KubeObject[] | undefined> {
  const present = await listAll({ metadataOnly: true });
  if (present.length === count) return listAll({});
  // Looking takes time from what is looked at.
  await new Promise((resolve) => setTimeout(resolve, 500));
  return undefined;
}

async function listAll(options: { metadataOnly?: boolean }): Promise<KubeObject[]> {
  const lists = await Promise.all(
    namespaces.map((namespace) => admin.list(secrets, { namespace, ...options })),
  );
  return lists.flatMap(({ items }) => items);
}

async function reportFailures(): Promise<void> {
  const { items } = await admin.list(sealedSecrets);
  const failed = items.flatMap(({ metadata, ...object }) => {
    const { conditions = [] } = (object["status"] ?? {}) as { conditions?: JsonObject[] };
    return conditions[0]?.["status"] === "False"
      ? [`${metadata.name}: ${String(conditions[0]["message"])}`]
      : [];
  });
  if (failed.length > 0)
    console.log(`${failed.length} not opened, among them\n${failed.slice(0, 5).join("\n")}`);
}

async function remove({ metadata }: KubeObject): Promise<void> {
  if (metadata.finalizers !== undefined)
    await admin.patch(secrets, metadata, { body: { metadata: { finalizers: null } } });
  await admin.delete(secrets, metadata);
}

/** Owner references with the owner's uid replaced by whether it is the right one. */
function ownersOf({ secrets: made, uids }: Opened, name: string): unknown {
  return made.get(name)?.metadata.ownerReferences?.map(({ uid, ...reference }) => ({
    ...reference,
    isOwner: uid === uids.get(name),
  }));
}

test("sealed by each side, opened by each running controller: 1000 of 1000, the same Secrets field by field", async () => {
  const all = cases();
  const sealed = (await inParallel(batches(all), sealBatch, 2)).flat();
  const theirs = await opened(sealed, () =>
    startUpstreamController(cluster, { flags: ["--kubeclient-qps=-1"] }),
  );
  const ours = await opened(sealed, startOurs);
  let same = 0;
  for (const { expected } of all) {
    const name = expected["name"] as string;
    expect(summaryOf(theirs.secrets.get(name)!), "opened by upstream").toEqual(expected);
    expect(summaryOf(ours.secrets.get(name)!), "opened by ours").toEqual(expected);
    expect(ownersOf(ours, name)).toEqual(ownersOf(theirs, name));
    same += 1;
  }
  console.log(`${same} of ${count}`);
  expect(same).toBe(1000);
});
