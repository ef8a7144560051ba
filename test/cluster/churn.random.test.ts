import { expect, test } from "vitest";
import { seed } from "../seed.ts";
import { churn } from "./churn.ts";

test("after 30 s of random changes under random faults every Secret is right, none is left over, and nothing is written any more", async () => {
  const result = await churn({ seconds: 30, seed });
  console.log("churn:", result);
  expect(result.objects).toBeGreaterThan(10);
  expect(result.lateWrites).toEqual([]);
});
