import { expect, test } from "vitest";
import { encryptionLabel, scopeOf, targetOf, withScope } from "../../formats/scope.ts";
import { failureOf } from "./sealing.ts";

const clusterWide = "sealedsecrets.bitnami.com/cluster-wide";
const namespaceWide = "sealedsecrets.bitnami.com/namespace-wide";

test.each([
  [undefined, "strict", "ns/app"],
  [{}, "strict", "ns/app"],
  [{ [namespaceWide]: "true" }, "namespace-wide", "ns"],
  [{ [clusterWide]: "true" }, "cluster-wide", ""],
  [{ [namespaceWide]: "true", [clusterWide]: "true" }, "cluster-wide", ""],
  [{ [namespaceWide]: "true", [clusterWide]: "false" }, "namespace-wide", "ns"],
  [{ [namespaceWide]: "TRUE" }, "strict", "ns/app"],
  [{ [clusterWide]: "True" }, "strict", "ns/app"],
  [{ [clusterWide]: "" }, "strict", "ns/app"],
  [{ [clusterWide]: " true" }, "strict", "ns/app"],
  [{ [clusterWide]: "1" }, "strict", "ns/app"],
  [{ "cluster-wide": "true" }, "strict", "ns/app"],
])("annotations %j: scope %s, label %j", (annotations, scope, label) => {
  const metadata = { name: "app", namespace: "ns", ...(annotations === undefined ? {} : { annotations }) };
  expect(scopeOf(metadata)).toBe(scope);
  expect(Buffer.from(encryptionLabel(targetOf(metadata))).toString()).toBe(label);
});

test("a label is UTF-8 bytes", () => {
  const label = encryptionLabel({ scope: "strict", namespace: "ñ", name: "b" });
  expect(Buffer.from(label).toString("hex")).toBe("c3b12f62");
});

test("what a scope needs must be there; cluster-wide needs nothing", async () => {
  expect(encryptionLabel({ scope: "cluster-wide" })).toHaveLength(0);
  expect(encryptionLabel({ scope: "namespace-wide", namespace: "ns" })).toHaveLength(2);
  for (const target of [
    { scope: "strict", name: "app" },
    { scope: "strict", name: "app", namespace: "" },
    { scope: "namespace-wide", name: "app" },
  ] as const) {
    expect(await failureOf(() => encryptionLabel(target))).toMatchObject({
      code: "InvalidSecret",
      message: "secret must declare a namespace",
    });
  }
  expect(await failureOf(() => encryptionLabel({ scope: "strict", namespace: "ns" }))).toMatchObject({
    code: "InvalidSecret",
    message: "missing metadata.name in input Secret",
  });
});

test("replacing a scope keeps the other annotations and leaves one scope", () => {
  const both = { a: "1", [namespaceWide]: "true", b: "2", [clusterWide]: "true" };
  expect(withScope(both, "strict")).toEqual({ a: "1", b: "2" });
  expect(withScope(both, "namespace-wide")).toEqual({ a: "1", b: "2", [namespaceWide]: "true" });
  expect(withScope(undefined, "cluster-wide")).toEqual({ [clusterWide]: "true" });
});
