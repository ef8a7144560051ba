import { afterAll, beforeAll, expect, test } from "vitest";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { secrets } from "../../controller/kube.ts";
import { eventually } from "../testbed/process.ts";
import { readiness } from "./subject.ts";
import { recoverySeconds, startFaultRig, untilReadiness, type FaultRig } from "./fault-rig.ts";

let rig: FaultRig;

beforeAll(async () => {
  rig = await startFaultRig({ without: "CustomResourceDefinition" });
});

afterAll(() => rig.stop());

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The requests that came through the proxy since, as `verb path` without the query. */
const requestsSince = (mark: number): string[] =>
  rig.proxy.requests.slice(mark).map((line) => line.replace(/\?.*/, ""));

const logged = (mark: number, what: RegExp): Promise<true> =>
  eventually(`log line ${String(what)}`, () => what.test(rig.subject.logs().slice(mark)) || undefined);

test("T55: without the type the controller waits, and it follows the type as it comes, goes and comes again", async () => {
  const { cluster, subject, manifests, expected } = rig;
  const type = JSON.stringify(manifests.find(({ kind }) => kind === "CustomResourceDefinition"));
  const applyType = async (): Promise<void> => {
    await cluster.kubectl(["apply", "-f", "-"], type);
    await cluster.kubectl(["wait", "--for=condition=Established", "crd/sealedsecrets.bitnami.com"]);
  };
  await logged(0, /watch of sealedsecrets interrupted.*NotFound/);
  expect(await readiness(subject.url)).toBe(503);

  await applyType();
  await untilReadiness(subject, 200, recoverySeconds);
  const name = await expected.seal();
  await expected.untilRight();

  const mark = subject.logs().length;
  await cluster.kubectl(["delete", "crd", "sealedsecrets.bitnami.com"]);
  await logged(mark, /watch of sealedsecrets interrupted.*NotFound/);
  expect(await subject.findSecret(name)).toBeDefined();

  await applyType();
  await expected.seal(name);
  await expected.untilRight();
});

test("T40: after 15 s in which every write was answered 500, all is right within 30 s", async () => {
  const { proxy, expected } = rig;
  await expected.sealMany(3);
  await expected.untilRight();
  const rules = ["create", "update", "patch"].map((verb) =>
    proxy.add({ verb, fault: { kind: "answer", status: 500 } }),
  );
  const [first, second] = expected.names;
  await expected.seal(first);
  if (second !== undefined) await expected.edit(second);
  await expected.sealMany(10);
  await pause(15_000);
  expect(rules.reduce((sum, { hits }) => sum + hits, 0)).toBeGreaterThan(10);
  proxy.clear();
  await expected.untilRight();
});

test("T39: a Retry-After is waited out before the next try, and nothing is dropped", async () => {
  const { proxy, expected } = rig;
  const fault = { kind: "answer", status: 429, retryAfterSeconds: 3 } as const;
  const refused = proxy.add({ verb: "create", path: /\/default\/secrets/, times: 10, fault });
  const mark = proxy.requests.length;
  await expected.sealMany(10);
  await expected.untilRight();
  // Ten that were refused and ten that were not: none came in vain.
  expect(refused.hits).toBe(10);
  expect(requestsSince(mark).filter((line) => /^create .*\/default\/secrets$/.test(line))).toHaveLength(20);
  proxy.clear();
});

test("T38: against a rival that writes the same Secret without end, the controller wins at the end and asks no more than the rival writes", async () => {
  const { proxy, subject, expected } = rig;
  const name = await expected.seal();
  await expected.untilRight();
  const mark = proxy.requests.length;
  let rivalWrites = 0;
  const end = performance.now() + 5_000;
  while (performance.now() < end) {
    await expected.edit(name);
    rivalWrites++;
    await pause(10);
  }
  const spent = requestsSince(mark).filter((line) => line.endsWith(`/default/secrets/${name}`));
  console.log(`T38: ${spent.length} requests against ${rivalWrites} writes of a rival`);
  expect(spent.length).toBeLessThan(2 * rivalWrites);
  await expected.untilRight();
  expect(subject.values(await subject.secret(name))).toHaveProperty("value");
});

test("T35: a Secret that was deleted while the watch of Secrets was down is made again", async () => {
  const { proxy, subject, expected } = rig;
  const name = await expected.seal();
  await expected.untilRight();
  const down = proxy.add({ verb: "watch", path: /^\/api\/v1\/secrets/, fault: { kind: "drop" } });
  proxy.cutAll();
  await eventually("the watch to be down", () => down.hits > 0 || undefined);
  await subject.deleteSecret(name);
  await pause(1_000);
  expect(await subject.findSecret(name)).toBeUndefined();
  proxy.clear();
  await expected.untilRight();
});

test("T35: a Secret that was made and deleted while the watch of Secrets was down, and that no list has shown, is made again", async () => {
  const { proxy, subject, expected } = rig;
  const path = /^\/api\/v1\/secrets/;
  const down = proxy.add({ verb: "watch", path, fault: { kind: "drop" } });
  proxy.cutAll();
  await eventually("the watch to be down", () => down.hits > 0 || undefined);
  const name = await expected.seal();
  await expected.untilRight();
  await subject.deleteSecret(name);
  // What happened meanwhile is not told by the next watch, as when the versions were compacted.
  proxy.add({ verb: "watch", path, times: 1, fault: { kind: "answer", status: 410 } });
  down.remove();
  await expected.untilRight();
  proxy.clear();
});

test("T35: a Secret that is deleted before the answer to its making arrives is made again", async () => {
  const { proxy, subject, expected } = rig;
  const fault = { kind: "trickle", bytesPerSecond: 300 } as const;
  const slow = proxy.add({ verb: "create", path: /\/default\/secrets/, times: 1, fault });
  const name = await expected.seal();
  await subject.secret(name);
  // The watch tells of both before the maker knows that it has made anything.
  await pause(300);
  await subject.deleteSecret(name);
  await expected.untilRight();
  expect(slow.hits).toBe(1);
  proxy.clear();
});

test("T37: a lossy network of 20 s costs nothing but time, and a watch connects at most once a second", async () => {
  const { proxy, expected, random } = rig;
  const mark = proxy.requests.length;
  const startedAt = performance.now();
  const often = { probability: 0.15 };
  proxy.add({ ...often, fault: { kind: "cut", afterBytes: [1, 5_000] } });
  proxy.add({ ...often, fault: { kind: "half-close", afterBytes: [1, 5_000] } });
  proxy.add({ ...often, fault: { kind: "drop" } });
  proxy.add({ ...often, fault: { kind: "lose-answer" } });
  proxy.add({ ...often, verb: "watch", fault: { kind: "trickle", bytesPerSecond: 5_000 } });
  while (performance.now() - startedAt < 20_000) {
    await expected.disturb(random);
    if (random() < 0.2) proxy.cutAll();
    await pause(300 * random());
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const connects = new Map<string, number>();
  for (const line of requestsSince(mark).filter((request) => request.startsWith("watch ")))
    connects.set(line, (connects.get(line) ?? 0) + 1);
  proxy.clear();
  await expected.untilRight();
  console.log("T37:", Object.fromEntries(connects), `in ${seconds.toFixed(0)} s`);
  expect(connects.size).toBe(3);
  for (const count of connects.values()) expect(count).toBeLessThanOrEqual(seconds + 1);
});

test("T41: while etcd is away the controller waits, and it is the same process that goes on", async () => {
  const { cluster, subject, expected, random } = rig;
  await cluster.etcd.stop();
  const churn = expected.disturb(random);
  await pause(3_000);
  await cluster.etcd.start();
  await churn;
  await expected.untilRight();
  expect(subject.controller.logs().match(/Starting sealed-secrets controller/g)).toHaveLength(1);
});

test("T57: told to stop under load, the controller ends by itself with exit code 0 within 10 s", async () => {
  const { subject, expected } = rig;
  const { kube, namespace } = subject;
  for (const name of expected.names) await kube.delete(secrets, { name, namespace });
  const sealed = await kube.list(sealedSecrets, { namespace });
  expect(sealed.items.length).toBeGreaterThan(20);
  // Kills after 10 s.
  await subject.controller.stop("SIGTERM");
  expect(await subject.controller.exited).toBe(0);
});
