import { expect, test } from "vitest";
import { toJson, toYaml } from "../../formats/manifest.ts";
import { parseSealedSecret, sealedSecretManifest, type SealedSecret } from "../../formats/sealed-secret.ts";
import { failureOf, manifestOf } from "./sealing.ts";

const head = { apiVersion: "bitnami.com/v1alpha1", kind: "SealedSecret" };
const full: SealedSecret = {
  metadata: {
    name: "app",
    namespace: "ns",
    annotations: { "sealedsecrets.bitnami.com/namespace-wide": "true" },
  },
  template: {
    metadata: { name: "app", namespace: "ns", labels: { y: "yes", n: "0123" }, finalizers: ["a/b"] },
    type: "kubernetes.io/tls",
    immutable: true,
    data: { "config.yaml": "user: {{ .user }}\n", gone: null },
  },
  encryptedData: JSON.parse('{"b":"QQ==","a":"Qg==","__proto__":"Qw=="}') as Record<string, string>,
};

test("a written SealedSecret reads back the same, as YAML and as JSON", () => {
  for (const sealed of [
    full,
    { ...full, encryptedData: {}, blob: "QQ==" },
    { metadata: {}, template: { metadata: {} }, encryptedData: {} },
  ]) {
    for (const text of [toYaml(sealedSecretManifest(sealed)), toJson(sealedSecretManifest(sealed))]) {
      const back = parseSealedSecret(manifestOf(text));
      expect(back).toEqual(sealed);
      expect(Object.keys(back.encryptedData).sort()).toEqual(Object.keys(sealed.encryptedData).sort());
    }
  }
});

test("JSON has the field order of the upstream encoder, items in order of their names", () => {
  const keys = [...toJson(sealedSecretManifest(full)).matchAll(/^ {2,4}"([^"]+)":/gm)].map(
    (match) => match[1],
  );
  expect(keys.filter((key) => key !== "annotations")).toEqual([
    "kind",
    "apiVersion",
    "metadata",
    "name",
    "namespace",
    "spec",
    "template",
    "encryptedData",
  ]);
  expect(Object.keys(JSON.parse(toJson(sealedSecretManifest(full))).spec.encryptedData as object)).toEqual([
    "__proto__",
    "a",
    "b",
  ]);
});

test("T71 an item may bear a name of the prototype", () => {
  const { encryptedData } = parseSealedSecret(
    manifestOf(
      '{"apiVersion":"bitnami.com/v1alpha1","kind":"SealedSecret","spec":{"encryptedData":{"__proto__":"QQ==","constructor":"QQ=="}}}',
    ),
  );
  expect(Object.keys(encryptedData)).toEqual(["__proto__", "constructor"]);
});

test("an item that is not text becomes the empty text, as upstream reads it", () => {
  const sealed = parseSealedSecret(
    manifestOf({ ...head, spec: { encryptedData: { a: 1, b: null, c: {}, d: "QQ==" } } }),
  );
  expect(sealed.encryptedData).toEqual({ a: "", b: "", c: "", d: "QQ==" });
});

test("status and unknown fields are not carried", () => {
  const object = {
    ...head,
    spec: { encryptedData: {}, other: 1, template: { other: 1 } },
    status: { observedGeneration: 1 },
    other: 1,
  };
  expect(parseSealedSecret(manifestOf(object))).toEqual({
    metadata: {},
    template: { metadata: {} },
    encryptedData: {},
  });
});

test("null is absent", () => {
  const spec = {
    encryptedData: null,
    data: null,
    template: { metadata: null, type: null, immutable: null, data: null },
  };
  const empty = { metadata: {}, template: { metadata: {} }, encryptedData: {} };
  expect(parseSealedSecret(manifestOf({ ...head, spec }))).toEqual(empty);
  expect(parseSealedSecret(manifestOf({ ...head, spec: { ...spec, template: null } }))).toEqual(empty);
});

test.each([
  ["a Secret", { apiVersion: "v1", kind: "Secret" }, "InvalidSealedSecret", "is a Secret, not a"],
  [
    "another version",
    { ...head, apiVersion: "bitnami.com/v1", spec: {} },
    "InvalidSealedSecret",
    "not a bitnami.com/v1alpha1",
  ],
  ["no spec", head, "InvalidSealedSecret", "document 1"],
  ["a spec that is a list", { ...head, spec: [] }, "InvalidSealedSecret", "document 1"],
  [
    "items that are a list",
    { ...head, spec: { encryptedData: ["QQ=="] } },
    "InvalidSealedSecret",
    "encryptedData in document 1 is not a map",
  ],
  [
    "items that are text",
    { ...head, spec: { encryptedData: "QQ==" } },
    "InvalidSealedSecret",
    "encryptedData",
  ],
  [
    "a template that is text",
    { ...head, spec: { template: "x" } },
    "InvalidSealedSecret",
    "template in document 1 is not a map",
  ],
  [
    "template data that is a list",
    { ...head, spec: { template: { data: [] } } },
    "InvalidSealedSecret",
    "data in document 1",
  ],
  [
    "an immutable that is text",
    { ...head, spec: { template: { immutable: "true" } } },
    "InvalidSecret",
    "spec.template.immutable",
  ],
  [
    "a type that is a number",
    { ...head, spec: { template: { type: 1 } } },
    "InvalidSecret",
    "spec.template.type",
  ],
  ["a blob that is a map", { ...head, spec: { data: {} } }, "InvalidSecret", "spec.data"],
  [
    "a label that is a number",
    { ...head, spec: { template: { metadata: { labels: { a: 1 } } } } },
    "InvalidSecret",
    "spec.template.metadata.labels.a",
  ],
])("refuses %s", async (_what, object, code, message) => {
  const failure = await failureOf(() => parseSealedSecret(manifestOf(object)));
  expect(failure.code).toBe(code);
  expect(failure.message).toContain(message);
});
