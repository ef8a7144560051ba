import { webcrypto } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Controller } from "../../controller/controller.ts";
import { customResourceDefinitions } from "../../controller/crd.ts";
import { startEmbeddedApi, type EmbeddedApi } from "../../controller/embedded/api.ts";
import { loadKube, secrets, type Kube, type KubeObject } from "../../controller/kube.ts";
import { createLog } from "../../controller/log.ts";
import { Metrics } from "../../controller/metrics.ts";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { keyLabel } from "../../controller/sealing-keys.ts";
import { issueKey, type IssuedKey } from "../../formats/issue-key.ts";
import { seal } from "../../formats/seal.ts";
import { sealedSecretManifest } from "../../formats/sealed-secret.ts";
import { parseCertificate } from "../../formats/sealing-certificate.ts";
import { eventually, guard } from "../testbed/process.ts";

/** The controller in this process, so that its RSA operations can be counted where they are run. */

const keyCount = 36;
const objects = 20;
const valuesEach = 10;
const workers = 4;
const namespace = "default";
const keyNamespace = "kube-system";
const monthMs = 30 * 24 * 3600 * 1000;

let api: EmbeddedApi;
let kube: Kube;
let controller: Controller;
const metrics = new Metrics({ revision: "test" });
/** Every RSA operation with a private key, done as ever. */
const privateOperations = vi.spyOn(webcrypto.subtle, "decrypt");

beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), "sealwright-hints-"));
  guard.deleteAtEnd(directory);
  const kubeconfig = join(directory, "kubeconfig");
  api = await startEmbeddedApi({ kubeconfig, crds: customResourceDefinitions() });
  kube = await loadKube({ kubeconfig, env: {}, userAgent: "test/1" });
  const keys = await Promise.all(Array.from({ length: keyCount }, (_, index) => monthlyKey(index)));
  await Promise.all(keys.map(storeKey));
  const [oldest] = keys;
  await Promise.all(Array.from({ length: objects }, (_, index) => createSealed(`object-${index}`, oldest!)));
  controller = newController();
});

afterAll(async () => {
  await controller.stop(5_000);
  kube.close();
  await api.stop();
});

/** The first is the oldest, and the last of this month. */
function monthlyKey(index: number): Promise<IssuedKey> {
  const notBefore = new Date(Date.now() - (keyCount - index) * monthMs);
  return issueKey({ bits: 2048, commonName: "", notBefore, ttlSeconds: 86_400 * 3650 });
}

async function storeKey({ privateKeyPem, certificatePem }: IssuedKey, index: number): Promise<void> {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  await kube.create(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: `key-${index}`, namespace: keyNamespace, labels: { [keyLabel]: "active" } },
    type: "kubernetes.io/tls",
    data: { "tls.key": base64(privateKeyPem), "tls.crt": base64(certificatePem) },
  });
}

async function createSealed(name: string, { certificatePem }: IssuedKey): Promise<void> {
  const certificate = parseCertificate(certificatePem);
  const values = Array.from(
    { length: valuesEach },
    (_, index) => [`entry-${index}`, Buffer.from(name)] as const,
  );
  const sealed = await seal({ metadata: { name, namespace }, entries: new Map(values) }, { certificate });
  await kube.create(sealedSecrets, sealedSecretManifest(sealed) as KubeObject);
}

function newController(): Controller {
  return new Controller({
    kube,
    metrics,
    log: createLog({ level: "ERROR", format: "text", infoToStdout: false }),
    keyPolicy: {
      namespace: keyNamespace,
      prefix: "sealed-secrets-key",
      bits: 2048,
      ttlMs: 120 * monthMs,
      renewPeriodMs: 0,
      cutoff: undefined,
      order: "CertNotBefore",
      commonName: "",
      labels: {},
      annotations: {},
    },
    namespaces: undefined,
    labelSelector: undefined,
    workers,
    acceptBlob: true,
    updatesStatus: true,
    watchesSecrets: true,
    deletesSecrets: false,
  });
}

/** Counts the RSA operations of an act, until what it brings about is there. */
async function operationsOf(act: () => Promise<unknown>, settled: () => Promise<unknown>): Promise<number> {
  const earlier = privateOperations.mock.calls.length;
  const lag = monitorEventLoopDelay({ resolution: 5 });
  lag.enable();
  await act();
  await settled();
  lag.disable();
  const operations = privateOperations.mock.calls.length - earlier;
  const [p99, max] = [lag.percentile(99) / 1e6, lag.max / 1e6];
  console.log(
    `${operations} RSA operations, event-loop lag p99 ${p99.toFixed(0)} ms, most ${max.toFixed(0)} ms`,
  );
  return operations;
}

test("T10: under the oldest of 36 keys the first objects cost a search, and none does once its key is known", async () => {
  const secretsMade = (): Promise<KubeObject[]> =>
    eventually("the Secrets", async () => {
      const { items } = await kube.list(secrets, { namespace });
      return items.length === objects ? items : undefined;
    });
  const searches = await operationsOf(() => controller.start(), secretsMade);
  expect(controller.keys.ordered()).toHaveLength(keyCount);
  // Each worker may begin a search before the first one has ended; the others try the newest key and then the one used last.
  expect(searches).toBeLessThanOrEqual(
    workers * (keyCount + valuesEach - 1) + (objects - workers) * (valuesEach + 1),
  );

  const touched = { body: { metadata: { annotations: { "example.com/touched": "1" } } } };
  const items = await secretsMade();
  const known = objects * valuesEach;
  const before = privateOperations.mock.calls.length;
  const again = await operationsOf(
    () => Promise.all(items.map(({ metadata }) => kube.patch(sealedSecrets, metadata, touched))),
    () =>
      eventually(
        `${known} RSA operations`,
        () => privateOperations.mock.calls.length - before >= known || undefined,
        60,
      ),
  );
  expect(again).toBe(known);
});
