import { randomInt } from "node:crypto";
import fc from "fast-check";

/** What generated input of this run comes from; SEED=N in the environment repeats a run. */
export const seed = Number(process.env["SEED"] ?? randomInt(2 ** 31));
console.log(`seed ${seed} (SEED=${seed} repeats this run)`);

/**
 * Holds a property over generated input; a failure prints the smallest case found and the seed.
 * @param options `processes`: each run starts programs, so that the smallest case is looked for only with SHRINK=1
 */
export async function holds<T>(
  property: fc.IRawProperty<T>,
  { runs = 200, processes = false }: { runs?: number; processes?: boolean } = {},
): Promise<void> {
  const endOnFailure = processes && process.env["SHRINK"] === undefined;
  await fc.assert(property, { seed, numRuns: runs, endOnFailure });
}

/** Numbers in [0, 1) that a seed repeats (mulberry32); for cases that are not worth shrinking. */
export function randomNumbers(from: number): () => number {
  let state = from;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
