import { expect, test } from "vitest";
import { requireUnexposed } from "../../formats/exposure.ts";
import { failureOf, secretOf } from "./sealing.ts";

const value = 'hunter2"hunter2';

test.each([
  ["as it is", value],
  ["inside a longer text", `it is ${value}.`],
  ["in base64", Buffer.from(value).toString("base64")],
  ["in base64 without padding", Buffer.from(value).toString("base64").replace(/=+$/, "")],
  ["escaped in JSON", JSON.stringify({ password: value })],
  ["without its line end", value],
])("T07: a value repeated %s", async (name, text) => {
  const entry = name === "without its line end" ? `${value}\n` : value;
  const secret = secretOf({
    metadata: { name: "db", annotations: { note: text } },
    stringData: { password: entry },
  });
  const failure = await failureOf(() => requireUnexposed(secret));
  expect(failure.code).toBe("PlaintextExposed");
  expect(failure.message).toBe("the annotation note of Secret db repeats the value of entry password");
});

test("T07: a label may name a user, but not repeat a long value", async () => {
  const metadata = { name: "db", labels: { app: "postgres", key: "a-long-random-value-1" } };
  requireUnexposed(secretOf({ metadata, stringData: { user: "postgres" } }));
  const failure = await failureOf(() =>
    requireUnexposed(secretOf({ metadata, stringData: { user: "a-long-random-value-1" } })),
  );
  expect(failure.message).toBe("the label key of Secret db repeats the value of entry user");
});

test("T07: short values, the object's own name and stripped annotations are no exposure", () => {
  const metadata = {
    name: "postgres-db",
    labels: { app: "postgres-db", size: "seven77" },
    annotations: { "kubectl.kubernetes.io/last-applied-configuration": value },
  };
  requireUnexposed(secretOf({ metadata, stringData: { user: "postgres", pin: "seven77", password: value } }));
});
