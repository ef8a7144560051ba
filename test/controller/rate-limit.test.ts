import fc from "fast-check";
import { expect, test } from "vitest";
import { RateLimiter } from "../../controller/rate-limit.ts";
import { holds } from "../seed.ts";

function limiter(options: { rate?: number; burst?: number; maxSenders?: number } = {}) {
  const clock = { now: 1000 };
  const own = new RateLimiter({ rate: 2, burst: 2, ...options, now: () => clock.now });
  return { clock, admit: (sender = "a") => own.admit(sender), own };
}

test("three at once, then two a second, and the headers count down", () => {
  const { clock, admit } = limiter();
  const seen = Array.from({ length: 4 }, () => admit());
  expect(seen.map(({ isAllowed }) => isAllowed)).toEqual([true, true, true, false]);
  expect(seen.map(({ headers }) => headers["X-Ratelimit-Remaining"])).toEqual(["2", "1", "0", "0"]);
  expect(seen.map(({ headers }) => headers["X-Ratelimit-Reset"])).toEqual(["1", "1", "2", "2"]);
  expect(seen.map(({ headers }) => headers["Retry-After"])).toEqual([undefined, undefined, undefined, "1"]);
  expect(seen[0]!.headers["X-Ratelimit-Limit"]).toBe("3");
  clock.now += 499;
  expect(admit().isAllowed).toBe(false);
  clock.now += 1;
  expect([admit().isAllowed, admit().isAllowed]).toEqual([true, false]);
  clock.now += 10_000;
  expect(Array.from({ length: 4 }, () => admit().isAllowed)).toEqual([true, true, true, false]);
});

test("senders do not share an allowance", () => {
  const { admit } = limiter({ burst: 0 });
  expect([admit("a"), admit("a"), admit("b")].map(({ isAllowed }) => isAllowed)).toEqual([true, false, true]);
});

test("T69: memory is bounded, and a flood of addresses shares one allowance", () => {
  const { clock, admit, own } = limiter({ maxSenders: 10 });
  for (let at = 0; at < 1000; at += 1) admit(`known${at % 9}`);
  const admitted = Array.from({ length: 1000 }, (_, at) => admit(`flood${at}`).isAllowed).filter(Boolean);
  expect(admitted.length).toBeLessThanOrEqual(6);
  expect(own.size).toBeLessThanOrEqual(11);
  clock.now += 1500;
  expect(admit("new").isAllowed).toBe(true);
  expect(own.size).toBeLessThanOrEqual(11);
});

test("T69: forgetting never gives a sender more than its rate", () => {
  const step = fc.record({ waitMs: fc.nat(800), sender: fc.nat(6) });
  const property = fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const { clock, admit } = limiter({ maxSenders: 3 });
    const admitted = new Map<string, number[]>();
    for (const { waitMs, sender } of steps) {
      clock.now += waitMs;
      const name = String(sender);
      if (admit(name).isAllowed) admitted.set(name, [...(admitted.get(name) ?? []), clock.now]);
    }
    // Four admissions of one sender span at least the time that one takes to earn.
    for (const times of admitted.values()) {
      // Its own allowance and the shared one: six at once at most.
      times.forEach((at, index) => expect((times[index + 6] ?? Infinity) - at).toBeGreaterThanOrEqual(499));
    }
  });
  return holds(property);
});
