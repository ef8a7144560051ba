import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../testbed/process.ts";
import { recoverySeconds, startFaultRig, untilReadiness, type FaultRig } from "./fault-rig.ts";

let rig: FaultRig;

beforeAll(async () => {
  // Old versions are soon compacted, and no cache hides that.
  rig = await startFaultRig({ apiserverFlags: ["--etcd-compaction-interval=5s", "--watch-cache=false"] });
});

afterAll(() => rig.stop());

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const sealedPath = /^\/apis\/bitnami.com\/v1alpha1\/sealedsecrets/;

test("T34: what was changed and deleted while the versions in hand were compacted is noticed after 410 in the stream", async () => {
  const { proxy, subject, expected } = rig;
  await expected.sealMany(5);
  await expected.untilRight();
  const [edited = "", deleted = "", resealed = ""] = expected.names;
  const removed = await expected.seal();
  await expected.untilRight();
  const mark = subject.logs().length;

  proxy.freeze();
  await expected.edit(edited);
  await subject.deleteSecret(deleted);
  await expected.seal(resealed);
  await expected.remove(removed);
  await pause(12_000);
  proxy.cutAll();
  proxy.thaw();

  await expected.untilRight();
  const metric = new RegExp(`condition_info{[^}]*name="${removed}"[^}]*} (1)`);
  await eventually(
    "no metric of what was deleted",
    async () => (await subject.metric(metric)) === 0 || undefined,
  );
  expect(subject.logs().slice(mark)).toMatch(/interrupted.*Expired/);
});

test("T34: a list that is answered 410 is asked for anew", async () => {
  const { proxy, expected } = rig;
  proxy.add({ verb: "watch", path: sealedPath, times: 1, fault: { kind: "answer", status: 410 } });
  const lists = proxy.add({
    verb: "list",
    path: sealedPath,
    times: 2,
    fault: { kind: "answer", status: 410 },
  });
  proxy.cutAll();
  await expected.seal();
  await eventually("two refused lists", () => lists.hits === 2 || undefined);
  await expected.untilRight();
  proxy.clear();
});

test("T33: a frozen API server is noticed by the readiness probe within a minute, and thawed it is followed again", async () => {
  const { cluster, subject, expected } = rig;
  await expected.untilRight();
  cluster.apiserver.freeze();
  try {
    await untilReadiness(subject, 503, 62);
  } finally {
    cluster.apiserver.thaw();
  }
  await untilReadiness(subject, 200, recoverySeconds);
  await expected.seal();
  await expected.edit(expected.names[0] ?? "");
  await expected.untilRight();
});
