import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { guarded } from "../../controller/guarded.ts";
import type { CallOptions, Kube, KubeObject, Resource } from "../../controller/kube-api.ts";
import { Candidate, type ElectionClock, type Term } from "../../controller/leader.ts";
import { claimableAt, claimed, released, sight } from "../../controller/lease.ts";
import { createLog } from "../../controller/log.ts";
import { asSecretError, SecretError } from "../../formats/errors.ts";
import { holds, randomNumbers } from "../seed.ts";

const yearMs = 365 * 86_400_000;
const log = createLog({ level: "ERROR", format: "text", infoToStdout: false });

function lease(holder: string, version: string, seconds = 15): KubeObject {
  return {
    metadata: { name: "sealwright-controller", resourceVersion: version },
    spec: { holderIdentity: holder, leaseDurationSeconds: seconds, renewTime: "2020-01-01T00:00:00.000000Z" },
  };
}

describe("who may claim", () => {
  const me = { identity: "me", leaseMs: 15_000 };

  test.each([
    ["no lease", undefined, 0, true],
    ["nobody's", lease("", "1"), 0, true],
    ["its own", lease("me", "1"), 0, true],
    ["another's, just seen, whatever its time says", lease("other", "1"), 0, false],
    ["another's, seen a moment too short", lease("other", "1"), 14_999, false],
    ["another's, unchanged for its length", lease("other", "1"), 15_000, true],
    ["another's with a longer length of its own", lease("other", "1", 60), 59_999, false],
    ["another's with a longer length, unchanged for that", lease("other", "1", 60), 60_000, true],
    ["another's that says it is shorter", lease("other", "1", 1), 14_999, false],
  ] as const)("%s", (_what, seen, laterMs, expected) => {
    expect(claimableAt(sight(undefined, seen, 1000), me) <= 1000 + laterMs).toBe(expected);
  });

  test("only a change of version starts the holder's time anew", () => {
    const first = sight(undefined, lease("other", "1"), 0);
    expect(sight(first, lease("other", "1"), 10_000).since).toBe(0);
    expect(sight(first, lease("other", "2"), 10_000).since).toBe(10_000);
  });

  test("a deleted lease still protects the holder that was seen", () => {
    const gone = sight(sight(undefined, lease("other", "1"), 0), undefined, 5_000);
    expect(claimableAt(gone, me)).toBe(15_000);
  });

  test("claims carry the version that was seen and count the change of holder", () => {
    const at = new Date("2026-06-01T00:00:00.123Z");
    const taken = claimed(lease("other", "7"), { identity: "me", leaseMs: 15_000, at });
    expect(taken.metadata.resourceVersion).toBe("7");
    expect(taken["spec"]).toEqual({
      ...{ holderIdentity: "me", leaseDurationSeconds: 15, leaseTransitions: 1 },
      ...{ acquireTime: "2026-06-01T00:00:00.123000Z", renewTime: "2026-06-01T00:00:00.123000Z" },
    });
    const later = claimed(taken, { identity: "me", leaseMs: 15_000, at: new Date("2026-06-01T00:00:02Z") });
    expect(later["spec"]).toMatchObject({ leaseTransitions: 1, acquireTime: "2026-06-01T00:00:00.123000Z" });
    expect(released(later, at)["spec"]).toMatchObject({ holderIdentity: "", leaseTransitions: 1 });
  });
});

test("a guarded API reads always and writes only for a leader", async () => {
  const done: string[] = [];
  const record = (verb: string) => () => {
    done.push(verb);
    return Promise.resolve({ metadata: { name: "a" } });
  };
  const verbs = ["get", "list", "create", "update", "updateStatus", "patch", "delete"] as const;
  const kube = Object.fromEntries(verbs.map((verb) => [verb, record(verb)])) as unknown as Kube;
  let leads = true;
  const guard = guarded(kube, () => leads);
  const call = (verb: (typeof verbs)[number]): Promise<unknown> =>
    guard[verb]({ kind: "Secret" } as Resource, { metadata: { name: "a" } } as never, {} as never);
  for (const verb of verbs) await call(verb);
  expect(done.splice(0)).toEqual(verbs);
  leads = false;
  const refused = await Promise.all(
    verbs.map((verb) =>
      call(verb).then(
        () => [],
        (e: unknown) => [verb, e],
      ),
    ),
  );
  expect(done).toEqual(["get", "list"]);
  expect(refused.filter(([verb]) => verb).map(([verb]) => verb)).toEqual(verbs.slice(2));
  for (const [, error] of refused.slice(2))
    expect(error).toMatchObject({ code: "NotLeader", retry: "backoff" });
});

/** A server with one Lease, a network and any number of candidates, in a time that passes as fast as it is computed. */
class World {
  time = 0;
  /** Of `time`: what can be lost or frozen is, until then. */
  chaosUntil = 0;
  version = 0;
  stored: KubeObject | undefined;
  /** Called after each event, when all that follows from it has happened. */
  check: () => void = () => undefined;
  readonly random: () => number;
  readonly #events = new Set<{ at: number; callback: () => void }>();

  constructor(seed: number) {
    this.random = randomNumbers(seed);
  }

  at(time: number, callback: () => void): () => void {
    const event = { at: time, callback };
    this.#events.add(event);
    return () => this.#events.delete(event);
  }

  /** True as often as `probability` says, while there is chaos. */
  strikes(probability: number): boolean {
    return this.time < this.chaosUntil && this.random() < probability;
  }

  async pass(ms: number): Promise<void> {
    const end = this.time + ms;
    for (;;) {
      await new Promise(setImmediate);
      this.check();
      let next: { at: number; callback: () => void } | undefined;
      for (const event of this.#events) if (next === undefined || event.at < next.at) next = event;
      if (next === undefined || next.at > end) break;
      this.#events.delete(next);
      this.time = Math.max(this.time, next.at);
      next.callback();
    }
    this.time = end;
  }

  serve(verb: string, object: KubeObject | undefined): KubeObject | undefined {
    if (verb === "get") return structuredClone(this.stored);
    if (object === undefined) throw new Error("nothing to write");
    if (verb === "create" && this.stored !== undefined) throw new SecretError("Conflict", "exists");
    if (verb === "update") {
      if (this.stored === undefined) throw new SecretError("NotFound", "gone");
      if (this.stored.metadata.resourceVersion !== object.metadata.resourceVersion)
        throw new SecretError("Conflict", "stale");
      // As the API server: a write that changes nothing makes no version.
      if (JSON.stringify(this.stored["spec"]) === JSON.stringify(object["spec"]))
        return structuredClone(this.stored);
    }
    this.version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.version) };
    this.stored = { ...structuredClone(object), metadata };
    return structuredClone(this.stored);
  }
}

interface Machine {
  /** How fast its monotonic clock goes: 1 is right. */
  rate?: number;
  /** How wrong its time of day is, in ms. */
  skewMs?: number;
  /** Its time of day stands still. */
  isTimeless?: boolean;
}

/** A candidate on a machine of its own. */
class Node {
  readonly candidate: Candidate;
  readonly terms: Term[] = [];
  frozenUntil = 0;
  readonly #world: World;

  constructor(world: World, identity: string, { rate = 1, skewMs = 0, isTimeless = false }: Machine = {}) {
    this.#world = world;
    const offset = world.random() * 1e9;
    const clock: ElectionClock = {
      now: () => offset + world.time * rate,
      after: (ms, callback) => this.#deliver(world.time + ms / rate, callback),
      random: world.random,
      date: () => new Date(Date.UTC(2026, 5, 1) + (isTimeless ? 0 : world.time) + skewMs),
    };
    const call = (verb: string, object: KubeObject | undefined, options: CallOptions = {}) =>
      this.#call(clock, { verb, object, options });
    this.candidate = new Candidate({
      ...{
        log,
        identity,
        clock,
        namespace: "kube-system",
        onTerm: (term: Term) => void this.terms.push(term),
      },
      kube: {
        get: (_resource, _ref, options) => call("get", undefined, options),
        create: (_resource, object, options) => call("create", object, options) as Promise<KubeObject>,
        update: (_resource, object, options) => call("update", object, options) as Promise<KubeObject>,
      },
    });
  }

  get leads(): boolean {
    return this.terms.some((term) => term.holds());
  }

  freeze(ms: number): void {
    this.frozenUntil = this.#world.time + ms;
  }

  /** A frozen machine finds out when it goes on again. */
  #deliver(at: number, callback: () => void): () => void {
    let cancel = this.#world.at(at, () => {
      if (this.frozenUntil > this.#world.time) cancel = this.#deliver(this.frozenUntil, callback);
      else callback();
    });
    return () => cancel();
  }

  #call(
    clock: ElectionClock,
    { verb, object, options }: { verb: string; object: KubeObject | undefined; options: CallOptions },
  ): Promise<KubeObject | undefined> {
    const world = this.#world;
    const travelMs = (): number => (world.strikes(0.15) ? world.random() * 12_000 : world.random() * 50);
    return new Promise((resolve, reject) => {
      const fail = (): void => reject(new SecretError("RemoteUnavailable", "no answer"));
      options.signal?.addEventListener("abort", fail, { once: true });
      clock.after(options.timeoutMs ?? 30_000, fail);
      if (world.strikes(0.1)) return;
      world.at(world.time + travelMs(), () => {
        let answer: () => void;
        try {
          const result = world.serve(verb, object);
          answer = () => resolve(result);
        } catch (error) {
          answer = () => reject(asSecretError(error));
        }
        if (!world.strikes(0.1)) this.#deliver(world.time + travelMs(), answer);
      });
    });
  }
}

describe("candidates", () => {
  function pair(machines: [Machine, Machine] = [{}, {}]): { world: World; first: Node; second: Node } {
    const world = new World(1);
    const first = new Node(world, "first", machines[0]);
    const second = new Node(world, "second", machines[1]);
    world.check = () => expect([first, second].filter(({ leads }) => leads).length).toBeLessThan(2);
    return { world, first, second };
  }

  test("the first leads at once, and for as long as it renews", async () => {
    const { world, first, second } = pair();
    first.candidate.start();
    await world.pass(200);
    expect(first.leads).toBe(true);
    second.candidate.start();
    await world.pass(600_000);
    expect([first.leads, second.leads]).toEqual([true, false]);
    expect(first.terms).toHaveLength(1);
  });

  test("T45 a frozen leader does not lead any more when it wakes, and the other took over within 18 s", async () => {
    const { world, first, second } = pair();
    first.candidate.start();
    await world.pass(1_000);
    second.candidate.start();
    await world.pass(5_000);
    first.freeze(30_000);
    await world.pass(18_000);
    expect(first.terms[0]!.holds()).toBe(false);
    expect(second.leads).toBe(true);
    await world.pass(30_000);
    expect([first.leads, second.leads]).toEqual([false, true]);
    expect(first.terms[0]!.signal.aborted).toBe(true);
  });

  test.each([10 * yearMs, -10 * yearMs, 3_600_000, -3_600_000])(
    "T46 a time of day that is wrong by %d ms decides nothing",
    async (skewMs) => {
      const { world, first, second } = pair([{ skewMs }, {}]);
      first.candidate.start();
      await world.pass(1_000);
      second.candidate.start();
      await world.pass(120_000);
      expect([first.leads, second.leads]).toEqual([true, false]);
      first.freeze(60_000);
      await world.pass(20_000);
      expect(second.leads).toBe(true);
      await world.pass(120_000);
      expect([first.leads, second.leads]).toEqual([false, true]);
    },
  );

  test("T46 a leader whose time of day stands still, so that its renewals change nothing, gives way", async () => {
    const { world, first, second } = pair([{ isTimeless: true }, {}]);
    first.candidate.start();
    await world.pass(1_000);
    second.candidate.start();
    await world.pass(60_000);
    expect([first.leads, second.leads]).toEqual([false, true]);
  });

  test("T57 a leader that stops hands over within 3 s", async () => {
    const { world, first, second } = pair();
    first.candidate.start();
    await world.pass(1_000);
    second.candidate.start();
    await world.pass(10_000);
    const stopped = first.candidate.stop();
    await world.pass(3_000);
    await stopped;
    expect(first.terms[0]!.signal.aborted).toBe(true);
    expect(second.leads).toBe(true);
  });

  test("a leader whose lease is given to another steps down when it sees that", async () => {
    const { world, first } = pair();
    first.candidate.start();
    await world.pass(1_000);
    world.stored = { ...lease("somebody", String(++world.version)) };
    await world.pass(5_000);
    expect(first.leads).toBe(false);
  });

  test("a leader whose lease is deleted makes it again and goes on", async () => {
    const { world, first, second } = pair();
    first.candidate.start();
    await world.pass(1_000);
    second.candidate.start();
    await world.pass(5_000);
    world.stored = undefined;
    await world.pass(20_000);
    expect([first.leads, second.leads]).toEqual([true, false]);
    expect(first.terms).toHaveLength(1);
  });
});

test("T45 T46 two or three candidates never lead at once, whatever is frozen, lost or late, and one does in the end", async () => {
  let takeovers = 0;
  const property = async (seed: number, count: number): Promise<void> => {
    const world = new World(seed);
    const chaosMs = 180_000;
    world.chaosUntil = chaosMs;
    const nodes = Array.from(
      { length: count },
      (_, index) =>
        new Node(world, `node-${index}`, {
          rate: 0.95 + world.random() / 10,
          skewMs: (world.random() - 0.5) * 20 * yearMs,
        }),
    );
    const leaders = (): number => nodes.filter(({ leads }) => leads).length;
    world.check = () => {
      if (leaders() > 1) throw new Error(`two leaders at ${world.time} ms`);
    };
    for (const node of nodes) {
      world.at(world.random() * 3_000, () => node.candidate.start());
      for (let at = 0; at < chaosMs; at += 40_000)
        world.at(at + world.random() * 40_000, () => node.freeze(world.random() * 30_000));
    }
    await world.pass(chaosMs + 60_000);
    expect(leaders()).toBe(1);
    takeovers += nodes.reduce((sum, { terms }) => sum + terms.length, 0) - 1;
    const stopped = Promise.all(nodes.map(({ candidate }) => candidate.stop()));
    await world.pass(10_000);
    await stopped;
    expect(leaders()).toBe(0);
  };
  await holds(fc.asyncProperty(fc.integer(), fc.constantFrom(2, 3), property), { runs: 200 });
  expect(takeovers).toBeGreaterThan(200);
});
