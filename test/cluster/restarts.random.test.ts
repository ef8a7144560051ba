import { afterAll, beforeAll, test } from "vitest";
import { startFaultRig, type FaultRig } from "./fault-rig.ts";

let rig: FaultRig;

beforeAll(async () => {
  rig = await startFaultRig();
  for (let made = 0; made < 20; made += 1) await rig.expected.seal();
  await rig.expected.untilRight();
});

afterAll(() => rig.stop());

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test("T32: over 5 restarts of the API server under churn no object is lost or stuck", async () => {
  const { cluster, expected, random } = rig;
  const restarted = new AbortController();
  const churn = (async () => {
    while (!restarted.signal.aborted) {
      await expected.disturb(random);
      await pause(50);
    }
  })();
  for (let i = 0; i < 5; i++) {
    await pause(1_000 * random());
    await cluster.apiserver.stop();
    await cluster.apiserver.start();
  }
  restarted.abort();
  await churn;
  await expected.untilRight();
});
