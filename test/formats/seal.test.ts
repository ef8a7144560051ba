import fc from "fast-check";
import { expect, test } from "vitest";
import { toJson, toYaml } from "../../formats/manifest.ts";
import { reseal, seal, templateOf } from "../../formats/seal.ts";
import { parseSealedSecret, sealedSecretManifest, type SealedSecret } from "../../formats/sealed-secret.ts";
import { parseSecret, type Secret } from "../../formats/secret.ts";
import { unseal } from "../../formats/unseal.ts";
import { holds } from "../seed.ts";
import { failureOf, manifestOf, newKeyPair, secretOf } from "./sealing.ts";

const [pair, newer] = [await newKeyPair(), await newKeyPair()];
const { certificate } = pair;
const clusterWide = "sealedsecrets.bitnami.com/cluster-wide";
const namespaceWide = "sealedsecrets.bitnami.com/namespace-wide";

function texts(secret: Secret): Record<string, string> {
  return Object.fromEntries(
    [...secret.entries].map(([name, value]) => [name, Buffer.from(value).toString("latin1")]),
  );
}

test("what describes one live object, and copies of the manifest, are stripped", () => {
  const { metadata } = secretOf({
    metadata: {
      name: "app",
      namespace: "ns",
      generateName: "app-",
      labels: { a: "b" },
      finalizers: ["x/y"],
      managedFields: [{ manager: "kubectl" }],
      selfLink: "/api",
      uid: "1",
      resourceVersion: "2",
      generation: 3,
      creationTimestamp: "2026-01-01T00:00:00Z",
      deletionTimestamp: "2026-01-01T00:00:00Z",
      deletionGracePeriodSeconds: 0,
      ownerReferences: [{ kind: "Pod" }],
      annotations: {
        kept: "x",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "kubecfg.ksonnet.io/last-applied-configuration": "{}",
      },
    },
  });
  expect(templateOf({ metadata, type: "a/b", immutable: false, entries: new Map() })).toEqual({
    metadata: {
      name: "app",
      namespace: "ns",
      generateName: "app-",
      labels: { a: "b" },
      finalizers: ["x/y"],
      managedFields: [{ manager: "kubectl" }],
      annotations: { kept: "x" },
    },
    type: "a/b",
    immutable: false,
  });
});

test("annotations that are all stripped leave no empty map", () => {
  const annotations = { "kubectl.kubernetes.io/last-applied-configuration": "{}" };
  expect(templateOf({ metadata: { annotations }, entries: new Map() })).toEqual({ metadata: {} });
});

test("the SealedSecret takes name, namespace and scope; the rest goes to the template", async () => {
  const annotations = { [namespaceWide]: "true", other: "x" };
  const metadata = { name: "app", namespace: "ns", labels: { a: "b" }, annotations };
  const sealed = await seal(secretOf({ metadata, stringData: { a: "1", b: "2" }, type: "a/b" }), {
    certificate,
  });
  expect(sealed.metadata).toEqual({ name: "app", namespace: "ns", annotations: { [namespaceWide]: "true" } });
  expect(sealed.template).toEqual({ metadata, type: "a/b" });
  expect(Object.keys(sealed.encryptedData)).toEqual(["a", "b"]);
});

test.each([
  [{ name: "app" }, "secret must declare a namespace"],
  [{ namespace: "ns" }, "missing metadata.name in input Secret"],
  [{ name: "app", annotations: { [namespaceWide]: "true" } }, "secret must declare a namespace"],
])("metadata %j is too little for its scope", async (metadata, message) => {
  const failure = await failureOf(() =>
    seal(secretOf({ metadata, stringData: { a: "1" } }), { certificate }),
  );
  expect(failure).toMatchObject({ code: "InvalidSecret", message });
});

test("T71 an entry may bear a name of the prototype: sealed, resealed and opened", async () => {
  const stringData = JSON.parse('{"__proto__":"p","constructor":"c","a":"1"}') as object;
  const secret = secretOf({ metadata: { name: "app", namespace: "ns" }, stringData });
  const sealed = await seal(secret, { certificate });
  expect(Object.keys(sealed.encryptedData).sort()).toEqual(["__proto__", "a", "constructor"]);
  const again = await reseal(sealed, [pair.key], { certificate: newer.certificate });
  const opened = await unseal(parseSealedSecret(manifestOf(toYaml(sealedSecretManifest(again)))), [
    newer.key,
  ]);
  expect(Object.entries(texts(opened.secret)).sort()).toEqual([
    ["__proto__", "p"],
    ["a", "1"],
    ["constructor", "c"],
  ]);
});

test("T30 T51 any bytes survive seal, file and unseal", async () => {
  const nasty = ["", "\0", "\r\n", "\ufeff", "8019210420527506405", "2026-01-01", "yes", "\u2028", "é"].map(
    (text) => Buffer.from(text),
  );
  const value = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.constantFrom(...nasty, Buffer.from([0xff, 0xfe, 0x00])),
  );
  await holds(
    fc.asyncProperty(
      fc.dictionary(fc.stringMatching(/^[a-z][-._a-zA-Z0-9]{0,20}$/), value),
      fc.constantFrom(toYaml, toJson),
      async (data, write) => {
        const entries = new Map(Object.entries(data));
        const sealed = await seal({ metadata: { name: "app", namespace: "ns" }, entries }, { certificate });
        const read = parseSealedSecret(manifestOf(write(sealedSecretManifest(sealed))));
        const { secret } = await unseal(read, [pair.key]);
        expect(secret.entries.size).toBe(entries.size);
        for (const [name, bytes] of entries)
          expect(Buffer.compare(secret.entries.get(name)!, bytes), name).toBe(0);
      },
    ),
    { runs: 100 },
  );
});

test.each([
  "8019210420527506405",
  "0123",
  "2026-01-01",
  "2026-01-01T10:00:00Z",
  "yes",
  "1e3",
  "0x10",
  "12:30",
  "~",
  "\ufeffx",
  "a\u0085b",
])("T30 the YAML scalar %j is sealed as it is seen, or refused", async (text) => {
  for (const scalar of [text, JSON.stringify(text), `'${text}'`]) {
    const manifest = manifestOf(
      `apiVersion: v1\nkind: Secret\nmetadata: {name: app, namespace: ns}\nstringData:\n  k: ${scalar}\n`,
    );
    let secret: Secret;
    try {
      secret = parseSecret(manifest);
    } catch {
      expect((await failureOf(() => parseSecret(manifest))).code).toBe("InvalidSecret");
      continue;
    }
    const sealed = await seal(secret, { certificate });
    const seen = scalar === "~" ? "" : text;
    expect(Buffer.from((await unseal(sealed, [pair.key])).secret.entries.get("k")!).toString()).toBe(seen);
  }
});

test("sealing again keeps the ciphertext of equal items, and of no others", async () => {
  const metadata = { name: "app", namespace: "ns" };
  const first = await seal(
    secretOf({ metadata, stringData: { same: "1", changed: "1", removed: "1", empty: "" } }),
    { certificate },
  );
  const again = secretOf({ metadata, stringData: { same: "1", changed: "2", added: "1", empty: "" } });
  const second = await seal(again, { certificate, previous: { sealed: first, keys: [newer.key, pair.key] } });
  expect(Object.keys(second.encryptedData).sort()).toEqual(["added", "changed", "empty", "same"]);
  expect(second.encryptedData["same"]).toBe(first.encryptedData["same"]);
  expect(second.encryptedData["empty"]).toBe(first.encryptedData["empty"]);
  expect(second.encryptedData["changed"]).not.toBe(first.encryptedData["changed"]);
  expect(texts((await unseal(second, [pair.key])).secret)).toEqual({
    same: "1",
    changed: "2",
    added: "1",
    empty: "",
  });
});

test("sealing again keeps nothing under another key, name or scope, or without the private key", async () => {
  const stringData = { a: "1" };
  const secret = secretOf({ metadata: { name: "app", namespace: "ns" }, stringData });
  const sealed = await seal(secret, { certificate });
  const keys = [pair.key, newer.key];
  const renamed = secretOf({ metadata: { name: "other", namespace: "ns" }, stringData });
  const widened = secretOf({
    metadata: { name: "app", namespace: "ns", annotations: { [clusterWide]: "true" } },
    stringData,
  });
  const attempts = await Promise.all([
    seal(secret, { certificate: newer.certificate, previous: { sealed, keys } }),
    seal(secret, { certificate, previous: { sealed, keys: [newer.key] } }),
    seal(renamed, { certificate, previous: { sealed, keys } }),
    seal(widened, { certificate, previous: { sealed, keys } }),
  ]);
  for (const attempt of attempts) expect(attempt.encryptedData["a"]).not.toBe(sealed.encryptedData["a"]);
});

async function sealedWith(template: Partial<SealedSecret["template"]>): Promise<SealedSecret> {
  const sealed = await seal(
    secretOf({ metadata: { name: "app", namespace: "ns" }, stringData: { a: "1", b: "2" } }),
    { certificate },
  );
  return { ...sealed, template: { ...sealed.template, ...template } };
}

test("T01 reseal takes the scope from the object itself, never from the template, and keeps the template", async () => {
  const sealed = await sealedWith({
    metadata: { labels: { a: "b" }, annotations: { [clusterWide]: "true" } },
    data: { c: "{{ fail .a }}" },
  });
  const again = await reseal(sealed, [pair.key], { certificate: newer.certificate });
  expect({ ...again, encryptedData: {} }).toEqual({ ...sealed, encryptedData: {} });
  expect(again.encryptedData["a"]).not.toBe(sealed.encryptedData["a"]);
  expect(texts((await unseal(again, [newer.key])).secret)).toEqual({ a: "1", b: "2" });
  const moved = { ...again, metadata: { ...again.metadata, name: "other" } };
  expect((await failureOf(() => unseal(moved, [newer.key]))).code).toBe("CannotUnseal");
});

test("reseal may leave alone what the current key opens", async () => {
  const sealed = await sealedWith({});
  const newest = await reseal(sealed, [pair.key], { certificate: newer.certificate });
  const encryptedData = { ...sealed.encryptedData, b: newest.encryptedData["b"]! };
  const mixed: SealedSecret = { ...sealed, encryptedData };
  const again = await reseal(mixed, [newer.key, pair.key], {
    certificate: newer.certificate,
    keepCurrent: true,
  });
  expect(again.encryptedData["b"]).toBe(mixed.encryptedData["b"]);
  expect(again.encryptedData["a"]).not.toBe(mixed.encryptedData["a"]);
  expect(texts((await unseal(again, [newer.key])).secret)).toEqual({ a: "1", b: "2" });
});

test("reseal changes nothing where one item does not open", async () => {
  const sealed = await sealedWith({});
  const broken = { ...sealed, encryptedData: { ...sealed.encryptedData, c: "!" } };
  expect((await failureOf(() => reseal(broken, [pair.key], { certificate: newer.certificate }))).code).toBe(
    "InvalidSealedSecret",
  );
});
