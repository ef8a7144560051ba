import { expect, test } from "vitest";
import { asSecretError, codes, SecretError } from "../../formats/errors.ts";

test("a coded error passes through; anything else becomes Internal without its text", () => {
  const coded = new SecretError("Altered", "x");
  expect(asSecretError(coded)).toBe(coded);
  const found = asSecretError(new TypeError("canary-7f3a"));
  expect(found).toMatchObject({ code: "Internal", message: "unexpected TypeError", retry: "backoff" });
  expect(asSecretError("canary-7f3a").message).not.toContain("canary");
});

test("every code has a retry policy and an exit code that scripts can tell apart", () => {
  for (const [code, { retry, exit }] of Object.entries(codes)) {
    expect(["never", "backoff"], code).toContain(retry);
    expect(exit, code).toBeGreaterThan(0);
    expect(exit, code).toBeLessThanOrEqual(6);
  }
});
