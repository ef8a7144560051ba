import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Queue, type Outcome, type QueueClock, type QueueOptions, type Run } from "../../controller/queue.ts";
import { SecretError, type ErrorCode } from "../../formats/errors.ts";

/** Time that passes only when told to. */
class Clock implements QueueClock {
  time = 0;
  chance = 0.5;
  readonly #timers = new Set<{ at: number; callback: () => void }>();

  readonly now = (): number => this.time;
  readonly random = (): number => this.chance;
  readonly after = (ms: number, callback: () => void): (() => void) => {
    const timer = { at: this.time + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  get pending(): number {
    return this.#timers.size;
  }

  /** Lets time pass, and everything that follows from it happen. */
  async pass(ms: number): Promise<void> {
    const end = this.time + ms;
    for (;;) {
      await settle();
      const [next] = [...this.#timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.time = next.at;
      next.callback();
    }
    this.time = end;
    await settle();
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

interface Rig {
  queue: Queue;
  clock: Clock;
  /** `key@time` of each run. */
  runs: string[];
}

function rig(handle: QueueOptions["handle"], options: Partial<QueueOptions> = {}): Rig {
  const clock = new Clock();
  const runs: string[] = [];
  const queue = new Queue({
    workers: 1,
    clock,
    ...options,
    handle: (key, run) => {
      runs.push(`${key}@${clock.time}`);
      return handle(key, run);
    },
  });
  return { queue, clock, runs };
}

const done = (): Promise<Outcome | undefined> => Promise.resolve(undefined);
const fail = (code: ErrorCode, retryAfterMs?: number) => (): Promise<never> =>
  Promise.reject(new SecretError(code, "test", retryAfterMs === undefined ? {} : { retryAfterMs }));

/** A handler that ends when the test says so. */
function gate(): { handle: QueueOptions["handle"]; open: (key: string, error?: unknown) => Promise<void> } {
  const waiting = new Map<
    string,
    { resolve: (outcome: undefined) => void; reject: (error: unknown) => void }
  >();
  return {
    handle: (key) => new Promise((resolve, reject) => void waiting.set(key, { resolve, reject })),
    open: async (key, error) => {
      if (error === undefined) waiting.get(key)!.resolve(undefined);
      else waiting.get(key)!.reject(error);
      waiting.delete(key);
      await settle();
    },
  };
}

describe("de-duplication", () => {
  test("a key that is added many times runs once, and once more if it was added while it ran", async () => {
    const { handle, open } = gate();
    const { queue, runs, clock } = rig(handle, { workers: 4 });
    for (let i = 0; i < 5; i++) queue.add("a");
    expect(queue.length).toBe(1);
    queue.start();
    await clock.pass(10);
    for (let i = 0; i < 5; i++) queue.add("a");
    expect([runs, queue.running, queue.length]).toEqual([["a@0"], 1, 0]);
    await open("a");
    expect(runs).toEqual(["a@0", "a@10"]);
    await open("a");
    expect([queue.running, queue.length, clock.pending]).toEqual([0, 0, 0]);
  });

  test("a forgotten key doesn't come back, unless it is added again", async () => {
    const { handle, open } = gate();
    const { queue, runs, clock } = rig(handle);
    queue.start();
    queue.add("a");
    queue.add("b");
    queue.forget("a");
    queue.forget("b");
    await open("a", new SecretError("RemoteUnavailable", "test"));
    await clock.pass(3_600_000);
    expect([runs, clock.pending]).toEqual([["a@0"], 0]);
    queue.add("c");
    queue.forget("c");
    queue.add("c");
    await open("c");
    expect(runs.slice(1)).toEqual(["c@3600000", "c@3600000"]);
  });
});

describe("retries", () => {
  test("T40: 1 s doubling to 5 min, and never the end", async () => {
    const { queue, clock, runs } = rig(fail("NotManaged"));
    queue.start();
    queue.add("a");
    await clock.pass(24 * 3_600_000);
    const times = runs.map((run) => Number(run.split("@")[1]) / 1000);
    const gaps = times.slice(1).map((time, i) => time - times[i]!);
    expect(gaps.slice(0, 11)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    expect(gaps.length).toBeGreaterThan(280);
    expect(queue.failing).toBe(1);
  });

  test.each([
    [0, 800],
    [0.5, 1_000],
    [0.999_999, 1_200],
  ])("back-off is spread by a fifth: chance %d", async (chance, expected) => {
    const delays: number[] = [];
    const { queue, clock } = rig(fail("RemoteUnavailable"), {
      onFailure: (_, failure) => delays.push(Math.round(failure.retryInMs)),
    });
    clock.chance = chance;
    queue.start();
    queue.add("a");
    await clock.pass(0);
    expect(delays).toEqual([expected]);
  });

  test.each([
    ["RemoteUnavailable", undefined, 1_000],
    ["RemoteUnavailable", 20_000, 20_000],
    ["RemoteUnavailable", 10, 1_000],
    ["CannotUnseal", undefined, 1_800_000],
  ] as const)("%s with Retry-After %s comes again after %d ms", async (code, retryAfterMs, expected) => {
    const { queue, clock, runs } = rig(fail(code, retryAfterMs));
    queue.start();
    queue.add("a");
    await clock.pass(expected - 1);
    expect(runs).toHaveLength(1);
    await clock.pass(1);
    expect(runs).toHaveLength(2);
  });

  test("a success ends the back-off, a defect doesn't end the queue", async () => {
    const attempts: number[] = [];
    const results = [
      new TypeError("defect"),
      new SecretError("Conflict", "test"),
      undefined,
      new TypeError("defect"),
    ];
    const { queue, clock, runs } = rig((_, run: Run) => {
      attempts.push(run.attempt);
      const result = results.shift();
      return result === undefined ? done() : Promise.reject(result);
    });
    queue.start();
    queue.add("a");
    await clock.pass(3_000);
    queue.add("a");
    await clock.pass(1_000);
    expect(attempts).toEqual([1, 2, 3, 1, 2]);
    expect(runs).toEqual(["a@0", "a@1000", "a@3000", "a@3000", "a@4000"]);
  });

  test("a permanent failure comes again at once when its object changes, but not for a resync", async () => {
    const { queue, clock, runs } = rig(fail("CannotUnseal"));
    queue.start();
    queue.add("a");
    await clock.pass(60_000);
    queue.add("a", { priority: "resync" });
    await clock.pass(60_000);
    expect(runs).toEqual(["a@0"]);
    queue.add("a");
    await settle();
    expect(runs).toEqual(["a@0", "a@120000"]);
  });

  test("a change that comes during a run that fails need not wait for the retry", async () => {
    const { handle, open } = gate();
    const { queue, clock, runs } = rig(handle);
    queue.start();
    queue.add("a");
    queue.add("a");
    await open("a", new SecretError("CannotUnseal", "test"));
    await clock.pass(10_000);
    expect(runs).toEqual(["a@0", "a@1000"]);
  });

  test("a storm of changes at a failing key can't undo its back-off", async () => {
    const { queue, clock, runs } = rig(fail("CannotUnseal"));
    queue.start();
    for (let i = 0; i < 600; i++) {
      queue.add("a");
      await clock.pass(100);
    }
    expect(runs.length).toBeLessThanOrEqual(16);
    expect(runs.length).toBeGreaterThanOrEqual(12);
  });

  test("requeueAfterMs runs it again, behind new work; a change comes before that", async () => {
    const { queue, clock, runs } = rig(() => Promise.resolve({ requeueAfterMs: 5_000 }));
    queue.start();
    queue.add("a");
    await clock.pass(5_000);
    await clock.pass(1_000);
    queue.add("a");
    await clock.pass(5_000);
    expect(runs).toEqual(["a@0", "a@5000", "a@6000", "a@11000"]);
  });
});

describe("a fault that many keys share", () => {
  /** Fails with the code until the time is up, and then no more. */
  const until = (end: number, code: ErrorCode, retryAfterMs?: number) => {
    const { queue, clock, runs } = rig(() => (clock.time < end ? fail(code, retryAfterMs)() : done()), {
      workers: 4,
    });
    queue.start();
    return { queue, clock, runs };
  };
  const runsAfter = (runs: readonly string[], time: number): number[] =>
    runs.map((run) => Number(run.split("@")[1])).filter((at) => at >= time);

  test.each(["Conflict", "NotFound", "Expired", "Forbidden", "Throttled", "RemoteUnavailable"] as const)(
    "T40: after an hour of %s, all are right within 10 s of its end",
    async (code) => {
      const end = 3_600_000;
      const { queue, clock, runs } = until(end, code);
      for (let i = 0; i < 50; i++) queue.add(`key${i}`);
      await clock.pass(end + 10_000);
      expect([queue.failing, queue.length, queue.running]).toEqual([0, 0, 0]);
      expect(runsAfter(runs, end)).toHaveLength(50);
    },
  );

  test("costs one try in 10 s besides the back-off of each", async () => {
    const { queue, clock, runs } = until(Infinity, "RemoteUnavailable");
    for (let i = 0; i < 50; i++) queue.add(`key${i}`);
    await clock.pass(3_600_000);
    const tried = runsAfter(runs, 1_800_000);
    // 180 by the scout, and each key every 5 min on its own.
    expect(tried.length).toBeGreaterThanOrEqual(180);
    expect(tried.length).toBeLessThanOrEqual(180 + 50 * 6);
    const gaps = tried.slice(1).map((time, i) => time - tried[i]!);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(10_000);
  });

  test.each(["CannotUnseal", "Rejected", "NotManaged", "Internal"] as const)(
    "an object that is at fault itself (%s) is not called by the success of another",
    async (code) => {
      const { queue, clock, runs } = rig((key) =>
        key === "bad" ? fail(code)() : clock.time < 20_000 ? fail("RemoteUnavailable")() : done(),
      );
      queue.start();
      queue.add("bad");
      const alone = rig(fail(code));
      alone.queue.start();
      alone.queue.add("bad");
      queue.add("good");
      await clock.pass(3_600_000);
      await alone.clock.pass(3_600_000);
      expect(runs.filter((run) => run.startsWith("bad"))).toEqual(alone.runs);
    },
  );

  test("T39: neither the scout nor a change comes before a Retry-After has passed", async () => {
    const { queue, clock, runs } = until(1, "Throttled", 60_000);
    queue.add("a");
    await clock.pass(15_000);
    queue.add("a");
    await clock.pass(3_600_000);
    expect(runs).toEqual(["a@0", "a@60000"]);
  });

  test("a key that keeps recovering makes another try at most every 5 s", async () => {
    let runsOfFlapping = 0;
    const { queue, clock, runs } = rig((key) =>
      key === "stuck" || runsOfFlapping++ % 2 === 0 ? fail("Conflict")() : done(),
    );
    queue.start();
    queue.add("stuck");
    for (let i = 0; i < 600; i++) {
      queue.add("flapping");
      await clock.pass(1_000);
    }
    expect(runs.filter((run) => run.startsWith("stuck")).length).toBeLessThanOrEqual(124);
  });
});

describe("priority", () => {
  test("T43: a change overtakes a flood, which still makes progress; a flooded key is promoted", async () => {
    const { queue, clock, runs } = rig(done);
    for (let i = 0; i < 1_000; i++) queue.add(`old${i}`, { priority: "resync" });
    queue.add("new");
    queue.add("old999");
    for (let i = 0; i < 20; i++) queue.add(`more${i}`);
    queue.start();
    await clock.pass(0);
    await queue.idle();
    const order = runs.map((run) => run.split("@")[0]);
    expect(order.slice(0, 2)).toEqual(["new", "old999"]);
    expect(order.slice(0, 22).filter((key) => key!.startsWith("old"))).toEqual(["old999", "old0", "old1"]);
    expect(order).toHaveLength(1_021);
    expect(new Set(order).size).toBe(1_021);
  });

  test("T49: retries of poisoned keys wait behind new work", async () => {
    const { handle, open } = gate();
    const poisoned = new Set(["bad0", "bad1", "bad2"]);
    const { queue, clock, runs } = rig((key, run) =>
      poisoned.has(key) ? fail("RemoteUnavailable")() : handle(key, run),
    );
    queue.start();
    for (const key of poisoned) queue.add(key);
    await clock.pass(0);
    queue.add("busy");
    await clock.pass(10_000);
    queue.add("good");
    await open("busy");
    expect(runs.slice(3)).toEqual(["busy@0", "good@10000"]);
  });
});

describe("stop", () => {
  test("waits for what runs, starts nothing more, and says whether all was done", async () => {
    const { handle, open } = gate();
    const { queue, clock, runs } = rig(handle);
    queue.start();
    queue.add("a");
    queue.add("b");
    const stopped = queue.stop(10_000);
    await open("a");
    expect(await stopped).toBe(true);
    queue.add("c");
    await clock.pass(3_600_000);
    expect([runs, clock.pending]).toEqual([["a@0"], 0]);
  });

  test("aborts what doesn't end", async () => {
    let signal: AbortSignal | undefined;
    const { queue, clock } = rig((_, run) => {
      signal = run.signal;
      return new Promise(() => undefined);
    });
    queue.start();
    queue.add("a");
    const stopped = queue.stop(10_000);
    await clock.pass(9_999);
    expect(signal?.aborted).toBe(false);
    await clock.pass(1);
    expect(await stopped).toBe(false);
    expect(signal?.aborted).toBe(true);
  });
});

test("for metrics: the wait counts from the moment a key was due", async () => {
  const starts: unknown[] = [];
  const ends: unknown[] = [];
  const { handle, open } = gate();
  const { queue, clock } = rig(handle, {
    onStart: (key, start) => starts.push([key, start]),
    onDone: (key, end) => ends.push([key, end]),
  });
  queue.add("a", { priority: "resync" });
  await clock.pass(100);
  queue.add("a");
  await clock.pass(50);
  queue.start();
  await clock.pass(30);
  await open("a");
  expect(starts).toEqual([["a", { priority: "change", waitedMs: 150 }]]);
  expect(ends).toEqual([["a", { tookMs: 30, ok: true }]]);
});

test("a long queue takes time in proportion to its length", async () => {
  const { queue, runs } = rig(done);
  for (let i = 0; i < 100_000; i++) queue.add(String(i), { priority: "resync" });
  queue.start();
  await queue.idle();
  expect(runs).toHaveLength(100_000);
});

type Step =
  | { do: "add"; key: string; priority: "change" | "resync" }
  | { do: "forget"; key: string }
  | { do: "pass"; ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("add" as const),
      key: fc.constantFrom("a", "b", "c", "d"),
      priority: fc.constantFrom("change" as const, "resync" as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("forget" as const), key: fc.constantFrom("a", "b", "c", "d") }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.nat(20_000) }) },
);
const run = fc.record({
  ms: fc.nat(5_000),
  result: fc.constantFrom("ok", "ok", "requeue", "RemoteUnavailable", "CannotUnseal", "defect"),
});

test("never two workers on a key, nothing lost, nothing left over", async () => {
  const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`queue property seed ${seed}`);
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.array(run, { maxLength: 60 }),
      fc.integer({ min: 1, max: 3 }),
      async (steps, plans, workers) => {
        const clock = new Clock();
        const busy = new Set<string>();
        const violations: string[] = [];
        const startedAfterAdd = new Map<string, boolean>();
        const queue = new Queue({
          workers,
          clock,
          handle: async (key) => {
            if (busy.has(key) || busy.size >= workers) violations.push(key);
            busy.add(key);
            startedAfterAdd.set(key, true);
            const plan = plans.shift() ?? { ms: 0, result: "ok" };
            await new Promise<void>((resolve) => clock.after(plan.ms, resolve));
            busy.delete(key);
            if (plan.result === "ok") return undefined;
            if (plan.result === "requeue") return { requeueAfterMs: plan.ms };
            if (plan.result === "defect") throw new TypeError("defect");
            throw new SecretError(plan.result, "test");
          },
        });
        queue.start();
        for (const action of steps) {
          if (action.do === "pass") await clock.pass(action.ms);
          else if (action.do === "forget") {
            queue.forget(action.key);
            startedAfterAdd.delete(action.key);
          } else {
            startedAfterAdd.set(action.key, false);
            queue.add(action.key, { priority: action.priority });
            await settle();
          }
        }
        await clock.pass(24 * 3_600_000);
        expect(violations).toEqual([]);
        expect([...startedAfterAdd].filter(([, started]) => !started)).toEqual([]);
        expect([busy.size, queue.length, queue.running, queue.failing, clock.pending]).toEqual([
          0, 0, 0, 0, 0,
        ]);
      },
    ),
    { seed, numRuns: 300 },
  );
});

test("T40: however work comes in during a fault, after it all is right within 30 s, and what is permanent waits", async () => {
  const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`queue fault seed ${seed}`);
  const passing = fc.constantFrom<ErrorCode>("Conflict", "Throttled", "RemoteUnavailable", "Forbidden");
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 60 }),
      fc.array(passing, { minLength: 1 }),
      fc.integer({ min: 1, max: 3 }),
      async (steps, faults, workers) => {
        const clock = new Clock();
        let broken = true;
        const wanted = new Set<string>();
        const permanent: number[] = [];
        const queue = new Queue({
          workers,
          clock,
          handle: async (key) => {
            await new Promise<void>((resolve) => clock.after(500, resolve));
            if (key === "permanent") {
              permanent.push(clock.time);
              throw new SecretError("CannotUnseal", "test");
            }
            if (!broken) return void wanted.delete(key);
            const fault = faults.shift() ?? "RemoteUnavailable";
            faults.push(fault);
            throw new SecretError(fault, "test");
          },
        });
        queue.start();
        queue.add("permanent");
        for (const action of steps) {
          if (action.do === "pass") await clock.pass(action.ms);
          else if (action.do === "forget") {
            queue.forget(action.key);
            wanted.delete(action.key);
          } else {
            queue.add(action.key, { priority: action.priority });
            wanted.add(action.key);
          }
        }
        await clock.pass(600_000);
        broken = false;
        await clock.pass(30_000);
        expect([...wanted]).toEqual([]);
        expect(permanent).toHaveLength(1);
      },
    ),
    { seed, numRuns: 200 },
  );
});
