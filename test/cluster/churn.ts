import type { Rule } from "../testbed/faults.ts";
import { eventually } from "../testbed/process.ts";
import { type FaultRig, startFaultRig } from "./fault-rig.ts";

/** What a churn run found. */
export interface ChurnResult {
  /** SealedSecrets alive at the end. */
  objects: number;
  disturbances: number;
  /** How often each fault was begun. */
  faults: Record<string, number>;
  /** From the end of the last fault until every Secret was right, in seconds. */
  recoveredInSeconds: number;
  /** Writes of the controller in the quiet time after that, as `verb path`; none is right. */
  lateWrites: readonly string[];
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const anywhere = { probability: 0.2 };
const onWrites = { probability: 0.3, path: /\/namespaces\/default\// };

/** Faults in the network and in answers; each is a rule that stays until the next. */
const rules: Record<string, Rule> = {
  cut: { ...anywhere, fault: { kind: "cut", afterBytes: [1, 5_000] } },
  halfClose: { ...anywhere, fault: { kind: "half-close", afterBytes: [1, 5_000] } },
  drop: { ...anywhere, fault: { kind: "drop" } },
  loseAnswer: { ...anywhere, fault: { kind: "lose-answer" } },
  delay: { ...anywhere, fault: { kind: "delay", milliseconds: [50, 1_500] } },
  conflict: { ...onWrites, fault: { kind: "answer", status: 409 } },
  throttle: { ...onWrites, fault: { kind: "answer", status: 429, retryAfterSeconds: 1 } },
  failure: { ...onWrites, fault: { kind: "answer", status: 500 } },
  forbidden: { ...onWrites, fault: { kind: "answer", status: 403 } },
  expiredWatch: { verb: "watch", times: 3, fault: { kind: "answer", status: 410 } },
};

/** Faults that begin and end by themselves. */
const blows: Record<string, (rig: FaultRig) => Promise<void>> = {
  cutAll: ({ proxy }) => {
    proxy.cutAll();
    return Promise.resolve();
  },
  freeze: async ({ proxy }) => {
    proxy.freeze();
    await pause(1_500);
    proxy.thaw();
  },
  apiserver: async ({ cluster }) => {
    await cluster.apiserver.stop();
    await cluster.apiserver.start();
  },
  etcd: async ({ cluster }) => {
    await cluster.etcd.stop();
    await cluster.etcd.start();
  },
};

/**
 * Creates, changes, edits, relabels and deletes at random under random faults, and then states what must hold.
 * @throws if a Secret is wrong 30 s after the last fault, or one is left over
 */
export async function churn({ seconds, seed }: { seconds: number; seed: number }): Promise<ChurnResult> {
  const rig = await startFaultRig({ sealedSecretType: true, controllerManager: true, seed });
  try {
    const { proxy, expected } = rig;
    const faults: Record<string, number> = {};
    const ended = new AbortController();
    const disturbing = disturb(rig, ended.signal);
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) await inflict(rig, faults);
    ended.abort();
    const disturbances = await disturbing;
    proxy.clear();
    const healedAt = performance.now();
    await expected.untilRight();
    const recoveredInSeconds = (performance.now() - healedAt) / 1000;
    await eventually("nothing left over", async () => (await expected.leftOver()).length === 0 || undefined);
    const lateWrites = await writesIn(rig, 5_000);
    return { objects: expected.names.length, disturbances, faults, recoveredInSeconds, lateWrites };
  } finally {
    await rig.stop();
  }
}

async function disturb({ expected, random }: FaultRig, ended: AbortSignal): Promise<number> {
  let count = 0;
  for (; !ended.aborted; count++) {
    const [name] = expected.names;
    if (name !== undefined && expected.names.length > 20 && random() < 0.2) await expected.remove(name);
    else await expected.disturb(random);
    await pause(50);
  }
  return count;
}

async function inflict(rig: FaultRig, faults: Record<string, number>): Promise<void> {
  const kinds = [...Object.keys(rules), ...Object.keys(blows)];
  const kind = kinds[Math.floor(rig.random() * kinds.length)] ?? "cutAll";
  faults[kind] = (faults[kind] ?? 0) + 1;
  rig.proxy.clear();
  const rule = rules[kind];
  if (rule !== undefined) rig.proxy.add(rule);
  await blows[kind]?.(rig);
  await pause(1_000 + 1_000 * rig.random());
}

/** Events are news, and may be late. */
async function writesIn({ proxy }: FaultRig, ms: number): Promise<string[]> {
  const mark = proxy.requests.length;
  await pause(ms);
  return proxy.requests
    .slice(mark)
    .filter((line) => /^(create|update|patch|delete) (?!.*\/events)/.test(line));
}
