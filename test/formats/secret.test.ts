import { expect, test } from "vitest";
import { toJson, toYaml } from "../../formats/manifest.ts";
import { parseSecret, secretManifest } from "../../formats/secret.ts";
import { failureOf, manifestOf, secretOf } from "./sealing.ts";

test("stringData wins over data, both end as bytes", () => {
  const secret = secretOf({
    metadata: { name: "app", namespace: "ns" },
    data: { a: "AP8=", b: "Yg==", empty: "", nothing: null },
    stringData: { b: "é\r\n", c: "5432" },
    immutable: false,
    type: "Opaque",
  });
  expect(secret).toMatchObject({
    metadata: { name: "app", namespace: "ns" },
    immutable: false,
    type: "Opaque",
  });
  const hex = [...secret.entries].map(([name, value]) => [name, Buffer.from(value).toString("hex")]);
  expect(Object.fromEntries(hex)).toEqual({
    a: "00ff",
    b: "c3a90d0a",
    c: "35343332",
    empty: "",
    nothing: "",
  });
});

test("what a manifest leaves out is left out", () => {
  expect(secretOf({ metadata: { name: "app", labels: null as never } })).toEqual({
    metadata: { name: "app" },
    entries: new Map(),
  });
});

test("metadata is carried along untouched, and not shared with the manifest", () => {
  const manifest = manifestOf({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "a", finalizers: ["x/y"], labels: { k: "v" } },
  });
  const { metadata } = parseSecret(manifest);
  expect(metadata).toEqual({ name: "a", finalizers: ["x/y"], labels: { k: "v" } });
  metadata.labels!["k"] = "changed";
  expect(manifest.object["metadata"]).toMatchObject({ labels: { k: "v" } });
});

const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "a" } };

test.each([
  ["another kind", { ...secret, kind: "ConfigMap" }, "is a ConfigMap, not a v1 Secret"],
  ["no kind", { apiVersion: "v1", data: {} }, "is an object without kind"],
  ["another API group", { ...secret, apiVersion: "example.com/v1" }, "not a v1 Secret"],
  [
    "a SealedSecret",
    { ...secret, kind: "SealedSecret", apiVersion: "bitnami.com/v1alpha1" },
    "is a SealedSecret",
  ],
  ["data that is text", { ...secret, data: "canary-1f" }, "data in document 1 is not a map"],
  ["data that is a list", { ...secret, data: ["canary-1f"] }, "data in document 1 is not a map"],
  ["bad base64", { ...secret, data: { k: "canary-1f!" } }, "data.k in document 1 is not valid base64"],
  ["base64 of the URL alphabet", { ...secret, data: { k: "-_8=" } }, "data.k"],
  ["base64 without padding", { ...secret, data: { k: "YQ" } }, "data.k"],
  [
    "a number in stringData",
    { ...secret, stringData: { k: 1 } },
    "stringData.k in document 1 is not a string",
  ],
  ["a map in stringData", { ...secret, stringData: { k: { "canary-1f": 1 } } }, "stringData.k"],
  [
    "half a surrogate pair",
    { ...secret, stringData: { k: "canary-1f\ud800" } },
    "stringData.k in document 1 is not valid Unicode",
  ],
  [
    "an immutable that is text",
    { ...secret, immutable: "true" },
    "immutable in document 1 is not true or false",
  ],
  ["a type that is a list", { ...secret, type: ["canary-1f"] }, "type in document 1 is not a string"],
  ["a label that is a number", { ...secret, metadata: { labels: { k: 1 } } }, "metadata.labels.k"],
  [
    "annotations that are a list",
    { ...secret, metadata: { annotations: ["canary-1f"] } },
    "metadata.annotations",
  ],
  ["a name that is a map", { ...secret, metadata: { name: {} } }, "metadata.name"],
])("refuses %s, quoting no value", async (_what, object, message) => {
  const failure = await failureOf(() => parseSecret(manifestOf(object)));
  expect(failure.code).toBe("InvalidSecret");
  expect(failure.message).toContain(message);
  expect(failure.message + failure.hint).not.toContain("canary");
});

test.each(["", ".", "..", "..a", "a/b", "a b", "é", "a\n", "x".repeat(254)])(
  "T50 refuses the entry name %j",
  async (name) => {
    for (const field of ["data", "stringData"]) {
      const failure = await failureOf(() => secretOf({ [field]: { [name]: "" } }));
      expect(failure).toMatchObject({
        code: "InvalidSecret",
        message: expect.stringContaining("entry name") as string,
      });
    }
  },
);

test.each(["a", "a.b", ".a", "a..b", "-", "_", "A-1_.x", "x".repeat(253), "__proto__", "constructor"])(
  "takes the entry name %j",
  (name) => {
    expect([
      ...secretOf({ stringData: JSON.parse(`{${JSON.stringify(name)}:"v"}`) as object }).entries.keys(),
    ]).toEqual([name]);
  },
);

test("T51 a written Secret reads back the same, binary included", () => {
  const entries = new Map([
    ["b", Uint8Array.from([0, 255, 254])],
    ["a", new Uint8Array()],
    ["__proto__", Uint8Array.from([1])],
  ]);
  const written = {
    metadata: { name: "y", namespace: "0123", annotations: { a: "yes", b: "1e3" } },
    type: "x/y",
    immutable: true,
    entries,
  };
  for (const text of [toYaml(secretManifest(written)), toJson(secretManifest(written))]) {
    const back = parseSecret(manifestOf(text));
    expect({ ...back, entries: undefined }).toEqual({ ...written, entries: undefined });
    expect([...back.entries].map(([name, value]) => [name, [...value]]).sort()).toEqual(
      [...entries].map(([name, value]) => [name, [...value]]).sort(),
    );
  }
});
