import { churn } from "../cluster/churn.ts";

const runs = 20;
const seconds = Number(process.env["CHURN_SECONDS"] ?? 300);

/** Twenty seeds of random changes under random faults; CHURN_SECONDS shortens each from 5 min, SEED=N is the first. */
export async function benchChurn(): Promise<void> {
  const first = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  let right = 0;
  for (let seed = first; seed < first + runs; seed++) {
    const outcome = await churn({ seconds, seed }).catch((thrown: unknown) => String(thrown));
    const isRight = typeof outcome === "object" && outcome.lateWrites.length === 0;
    if (isRight) right++;
    console.log(`churn, seed ${seed}: ${isRight ? "right" : "WRONG"} ${JSON.stringify(outcome)}`);
  }
  console.log(`churn: ${right} of ${runs} seeds right, ${seconds} s each`);
  if (right < runs) process.exitCode = 1;
}
