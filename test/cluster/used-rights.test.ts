import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Controller } from "../../controller/controller.ts";
import {
  events,
  loadKube,
  secrets,
  type Kube,
  type KubeObject,
  type RequestRecord,
} from "../../controller/kube.ts";
import { createLog } from "../../controller/log.ts";
import { Metrics } from "../../controller/metrics.ts";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { seal } from "../../formats/seal.ts";
import { sealedSecretManifest } from "../../formats/sealed-secret.ts";
import { startCluster, type Cluster } from "../testbed/cluster.ts";
import { eventually } from "../testbed/process.ts";
import { grantedRules, parseManifests } from "./granted-rules.ts";

const deploy = join(import.meta.dirname, "../../controller/deploy");
const account = "sealwright-controller";
const keyNamespace = "kube-system";
const dayMs = 86_400_000;

let cluster: Cluster;
let admin: Kube;
let base: string;

beforeAll(async () => {
  cluster = await startCluster();
  base = await cluster.kubectl(["kustomize", deploy]);
  await cluster.kubectl(["apply", "-f", "-"], base);
  admin = await loadKube({ kubeconfig: cluster.kubeconfig, env: {}, userAgent: "test/1" });
});

afterAll(async () => {
  admin.close();
  await cluster.stop();
});

interface UnderTest {
  controller: Controller;
  /** Everything that it asked the API server for. */
  requests: RequestRecord[];
  stop: () => Promise<void>;
}

/** Starts the controller with the rights of its service account in the applied manifests. */
async function startController(): Promise<UnderTest> {
  const requests: RequestRecord[] = [];
  const kube = await loadKube({
    kubeconfig: await cluster.kubeconfigFor(keyNamespace, account),
    env: {},
    userAgent: "test/1",
    onRequest: (request) => void requests.push(request),
  });
  const controller = new Controller({
    kube,
    log: createLog({ level: "ERROR", format: "text", infoToStdout: false }),
    metrics: new Metrics({ revision: "test", omitSecretLabels: false }),
    keyPolicy: {
      ...{ namespace: keyNamespace, prefix: "sealed-secrets-key", bits: 2048, commonName: "" },
      ...{ ttlMs: 365 * dayMs, renewPeriodMs: 0, cutoff: undefined, order: "CertNotBefore" },
      ...{ labels: {}, annotations: {} },
    },
    ...{ namespaces: undefined, labelSelector: undefined, workers: 2 },
    ...{ acceptBlob: true, updatesStatus: true, watchesSecrets: true, deletesSecrets: false },
  });
  await controller.start();
  return {
    controller,
    requests,
    stop: async () => {
      await controller.stop(5_000);
      kube.close();
    },
  };
}

test("T73 a controller under its own account sends every request that is granted, and no other", async () => {
  const { controller, requests, stop } = await startController();
  try {
    await live(controller);
  } finally {
    await stop();
  }
  const named = ({ verb, resource }: { verb: string; resource: string }): string => `${verb} ${resource}`;
  expect(requests.filter(({ status }) => status === 403).map(named)).toEqual([]);
  const sent = new Set(requests.map(named));
  const granted = new Set(grantedRules(parseManifests(base), account).map(named));
  expect([...sent].sort()).toEqual([...granted].sort());
});

/** A SealedSecret's life, with two drifts of one kind, so that an event repeats. */
async function live(controller: Controller): Promise<void> {
  const ref = { namespace: "default", name: "rights" };
  const certificate = controller.keys.certificate!;
  const secret = {
    metadata: ref,
    type: "Opaque",
    entries: new Map([["password", Buffer.from("first value")]]),
  };
  const sealed = sealedSecretManifest(await seal(secret, { certificate }));
  await admin.create(sealedSecrets, sealed as unknown as KubeObject);
  const right = Buffer.from("first value").toString("base64");
  const isRight = (): Promise<KubeObject> =>
    eventually("the Secret to be right", async () => {
      const live = await admin.get(secrets, ref);
      return (live?.["data"] as Record<string, string> | undefined)?.["password"] === right
        ? live
        : undefined;
    });
  for (const wrong of ["one", "two"]) {
    const found = await isRight();
    const data = { password: Buffer.from(wrong).toString("base64") };
    await admin.update(secrets, { ...found, data });
    await isRight();
  }
  await eventually("the event to repeat", async () => {
    const { items } = await admin.list(events, { namespace: ref.namespace });
    return items.find(({ reason, count }) => reason === "DriftHealed" && count === 2);
  });
  await eventually("the status", async () => {
    const object = await admin.get(sealedSecrets, ref);
    return object?.["status"];
  });
}
