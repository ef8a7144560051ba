import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadKube, secrets, type Kube, type KubeObject } from "../../controller/kube.ts";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { keyLabel } from "../../controller/sealing-keys.ts";
import { encodeBase64 } from "../../formats/base64.ts";
import { issueKey } from "../../formats/issue-key.ts";
import { seal } from "../../formats/seal.ts";
import { sealedSecretManifest } from "../../formats/sealed-secret.ts";
import { parseCertificate, type SealingCertificate } from "../../formats/sealing-certificate.ts";
import { startCluster, type Cluster } from "../testbed/cluster.ts";
import { freePort, launch, type Running } from "../testbed/process.ts";
import { applySealedSecretType, startUpstreamController } from "../testbed/upstream.ts";
import { printPairs } from "./pairs.ts";

const objects = Number(process.env["BENCH_OBJECTS"] ?? 1000);
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 3);
const namespace = "bench";
const atOnce = 16;

/** A program under measurement, started against the cluster. */
interface Contender {
  stop: () => Promise<void>;
}

/** SealedSecrets of 2 items from cold, to the last Secret; and a restart with nothing to change, to the last look at one. */
export async function benchCluster(): Promise<void> {
  const cluster = await startCluster();
  const kube = await loadKube({ kubeconfig: cluster.kubeconfig, env: {} });
  try {
    await applySealedSecretType(cluster);
    await cluster.kubectl(["create", "namespace", namespace]);
    const sealed = await sealAll(await installKey(kube));
    const cold = { ours: [] as number[], theirs: [] as number[] };
    for (let round = 0; round < rounds; round += 1) {
      cold.theirs.push(
        await coldStart(kube, sealed, () =>
          startUpstreamController(cluster, { flags: ["--kubeclient-qps=-1"] }),
        ),
      );
      cold.ours.push(await coldStart(kube, sealed, () => startOurs(cluster)));
      console.log(
        `round ${round + 1}: ours ${cold.ours.at(-1)?.toFixed(1)} s, upstream ${cold.theirs.at(-1)?.toFixed(1)} s`,
      );
    }
    printPairs({
      title: `${objects} SealedSecrets of 2 items, cold start to last Secret`,
      unit: "s",
      ...cold,
    });
  } finally {
    kube.close();
    await cluster.stop();
  }
}

async function installKey(kube: Kube): Promise<SealingCertificate> {
  const key = await issueKey({ bits: 4096, commonName: "", notBefore: new Date(), ttlSeconds: 86_400_000 });
  await kube.create(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "sealed-secrets-keybench", namespace: "kube-system", labels: { [keyLabel]: "active" } },
    type: "kubernetes.io/tls",
    data: {
      "tls.key": encodeBase64(Buffer.from(key.privateKeyPem)),
      "tls.crt": encodeBase64(Buffer.from(key.certificatePem)),
    },
  });
  return parseCertificate(key.certificatePem);
}

function sealAll(certificate: SealingCertificate): Promise<KubeObject[]> {
  const names = Array.from({ length: objects }, (_, index) => `object-${index}`);
  return Promise.all(
    names.map(async (name) => {
      const entries = new Map([
        ["user", Buffer.from(name)],
        ["password", Buffer.from(`secret of ${name}`)],
      ]);
      return sealedSecretManifest(
        await seal({ metadata: { name, namespace }, entries }, { certificate }),
      ) as KubeObject;
    }),
  );
}

/** Seconds from the program's start until every Secret is there; the cluster is then emptied again. */
async function coldStart(
  kube: Kube,
  sealed: readonly KubeObject[],
  start: () => Promise<Contender>,
): Promise<number> {
  await inParallel(sealed, (object) => kube.create(sealedSecrets, object));
  const startedAt = performance.now();
  const contender = await start();
  await until(async () => (await countSecrets(kube)) === sealed.length);
  const seconds = (performance.now() - startedAt) / 1000;
  await contender.stop();
  await inParallel(sealed, ({ metadata }) => kube.delete(sealedSecrets, metadata));
  await inParallel(sealed, ({ metadata }) => kube.delete(secrets, metadata));
  return seconds;
}

async function countSecrets(kube: Kube): Promise<number> {
  const { items } = await kube.list(secrets, { namespace, metadataOnly: true });
  return items.length;
}

async function startOurs(cluster: Cluster): Promise<Contender> {
  const directory = mkdtempSync(join(tmpdir(), "sealwright-bench-"));
  const [http, metrics] = [await freePort(), await freePort()];
  const running: Running = launch({
    program: process.execPath,
    args: [
      "dist/sealwright-controller.js",
      `--kubeconfig=${cluster.kubeconfig}`,
      `--listen-addr=127.0.0.1:${http}`,
      `--listen-metrics-addr=127.0.0.1:${metrics}`,
    ],
    env: { POD_NAMESPACE: "kube-system" },
    logFile: join(directory, "controller.log"),
  });
  return {
    stop: async () => {
      const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
      const figure = (name: string): number => Number(new RegExp(`^${name} (.+)$`, "m").exec(text)?.[1]);
      const [lag, memory] = [
        figure("nodejs_eventloop_lag_p99_seconds") * 1000,
        figure("process_resident_memory_bytes") / 2 ** 20,
      ];
      const cpu = figure("process_cpu_seconds_total");
      console.log(
        `  ours: ${cpu.toFixed(1)} s of CPU, event-loop lag p99 ${lag.toFixed(0)} ms, resident memory ${memory.toFixed(0)} MiB`,
      );
      await running.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function inParallel(
  all: readonly KubeObject[],
  act: (object: KubeObject) => Promise<unknown>,
): Promise<void> {
  const rest = [...all];
  const worker = async (): Promise<void> => {
    for (let next = rest.pop(); next !== undefined; next = rest.pop()) await act(next);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 100));
}
