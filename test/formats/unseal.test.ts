import { expect, test } from "vitest";
import { seal, sealItem } from "../../formats/seal.ts";
import type { SealedSecret } from "../../formats/sealed-secret.ts";
import { secretManifest } from "../../formats/secret.ts";
import { openItems, sealedScope, unseal } from "../../formats/unseal.ts";
import { failureOf, newKeyPair, secretOf } from "./sealing.ts";

const [pair, older] = [await newKeyPair(), await newKeyPair({ bits: 1024 })];
const { certificate, key } = pair;
const keys = [older.key, key];
const annotationOf = {
  strict: {},
  "namespace-wide": { "sealedsecrets.bitnami.com/namespace-wide": "true" },
  "cluster-wide": { "sealedsecrets.bitnami.com/cluster-wide": "true" },
} as const;
type Scope = keyof typeof annotationOf;
const scopes = Object.keys(annotationOf) as Scope[];

function sealIn(scope: Scope): Promise<SealedSecret> {
  const metadata = { name: "app", namespace: "ns", annotations: { ...annotationOf[scope] } };
  return seal(secretOf({ metadata, stringData: { a: "canary-77", b: "2" } }), { certificate });
}

const moves = {
  nowhere: (sealed) => sealed.metadata,
  "another name": (sealed) => ({ ...sealed.metadata, name: "other" }),
  "another namespace": (sealed) => ({ ...sealed.metadata, namespace: "other" }),
  strict: (sealed) => ({ ...sealed.metadata, annotations: annotationOf.strict }),
  "namespace-wide": (sealed) => ({ ...sealed.metadata, annotations: annotationOf["namespace-wide"] }),
  "cluster-wide": (sealed) => ({ ...sealed.metadata, annotations: annotationOf["cluster-wide"] }),
} as const satisfies Record<string, (sealed: SealedSecret) => SealedSecret["metadata"]>;

test.each(scopes)(
  "T04 %s: opens where its scope says, and moved elsewhere it is refused and the cause named",
  async (scope) => {
    const allowed: Record<Scope, string[]> = {
      strict: ["nowhere", "strict"],
      "namespace-wide": ["nowhere", "another name", "namespace-wide"],
      "cluster-wide": ["nowhere", "another name", "another namespace", "cluster-wide"],
    };
    const sealed = await sealIn(scope);
    for (const [name, move] of Object.entries(moves)) {
      const moved = { ...sealed, metadata: move(sealed) };
      if (allowed[scope].includes(name)) {
        const { secret } = await unseal(moved, keys);
        expect(Buffer.from(secret.entries.get("a")!).toString(), name).toBe("canary-77");
        continue;
      }
      const failure = await failureOf(() => unseal(moved, keys));
      expect(failure, name).toMatchObject({
        code: "CannotUnseal",
        message: "no key could decrypt secret (a, b)",
      });
      expect(failure.hint).toContain("another name, namespace or scope");
      expect(failure.message + failure.hint).not.toContain("canary");
      // A changed scope annotation can be told; another name or namespace cannot, since the true one is not in the object.
      expect(await sealedScope(moved, keys), name).toBe(name in annotationOf ? scope : undefined);
    }
  },
);

test("T04 an item moved in from another object is refused by name", async () => {
  const sealed = await sealIn("strict");
  const foreign = sealItem(
    Buffer.from("x"),
    { scope: "strict", namespace: "ns", name: "other" },
    certificate,
  );
  const failure = await failureOf(() =>
    unseal({ ...sealed, encryptedData: { ...sealed.encryptedData, c: foreign } }, keys),
  );
  expect(failure).toMatchObject({ code: "CannotUnseal", message: "no key could decrypt secret (c)" });
});

test("an item may be renamed, since its name is not bound", async () => {
  const { metadata, template, encryptedData } = await sealIn("strict");
  const { secret } = await unseal({ metadata, template, encryptedData: { z: encryptedData["a"]! } }, keys);
  expect(Buffer.from(secret.entries.get("z")!).toString()).toBe("canary-77");
});

test("name and namespace are the SealedSecret's own, whatever the template says", async () => {
  const sealed = await sealIn("cluster-wide");
  const metadata = { name: "evil", namespace: "kube-system", labels: { a: "b" } };
  const template = { metadata, type: "a/b", immutable: true };
  const { secret, openedBy } = await unseal({ ...sealed, template }, keys);
  expect(secret).toMatchObject({
    metadata: { name: "app", namespace: "ns", labels: { a: "b" } },
    type: "a/b",
    immutable: true,
  });
  expect([...openedBy]).toEqual([key.fingerprint]);
  const { namespace: _, ...without } = sealed.metadata;
  const bare = await unseal({ ...sealed, metadata: without, template }, keys);
  expect(bare.secret.metadata).toEqual({ name: "app", labels: { a: "b" } });
});

test("failures are grouped by cause, keys sorted, the gravest code first", async () => {
  const sealed = await sealIn("strict");
  const altered = Buffer.from(sealed.encryptedData["a"]!, "base64");
  altered[altered.length - 1]! ^= 1;
  const items = {
    z: "AAA=",
    y: altered.toString("base64"),
    x: "%",
    b: sealed.encryptedData["b"]!,
    c: "",
    a: "%",
  };
  const failure = await failureOf(() => unseal({ ...sealed, encryptedData: items }, keys));
  expect(failure).toMatchObject({
    code: "CannotUnseal",
    message:
      "no key could decrypt secret (c, z); the ciphertext was changed after it was sealed (y); illegal base64 data (a, x)",
  });
  const { y, x } = items;
  expect((await failureOf(() => unseal({ ...sealed, encryptedData: { y, x } }, keys))).code).toBe("Altered");
  expect((await failureOf(() => unseal({ ...sealed, encryptedData: { x } }, keys))).code).toBe(
    "InvalidSealedSecret",
  );
});

test("without keys nothing opens, and nothing to open is an empty Secret", async () => {
  const sealed = await sealIn("strict");
  expect((await failureOf(() => unseal(sealed, []))).code).toBe("CannotUnseal");
  expect((await unseal({ ...sealed, encryptedData: {} }, [])).secret.entries.size).toBe(0);
});

test("each item opens under its own key, and the result says which", async () => {
  const target = { scope: "strict", namespace: "ns", name: "app" } as const;
  const items = {
    a: sealItem(Buffer.from("1"), target, certificate),
    b: sealItem(Buffer.from("2"), target, older.certificate),
    c: sealItem(Buffer.from("3"), target, certificate),
  };
  const opened = await openItems(items, target, keys);
  opened.requireAll();
  expect(Object.fromEntries(opened.openedBy)).toEqual({
    a: key.fingerprint,
    b: older.key.fingerprint,
    c: key.fingerprint,
  });
  expect(keys, "the caller's order stays").toEqual([older.key, key]);
});

test("plaintext of a refused object is wiped", async () => {
  const sealed = await sealIn("strict");
  const target = { scope: "strict", namespace: "ns", name: "app" } as const;
  const opened = await openItems({ ...sealed.encryptedData, bad: "" }, target, keys);
  const value = opened.entries.get("a")!;
  expect((await failureOf(() => opened.requireAll())).code).toBe("CannotUnseal");
  expect([...value].every((byte) => byte === 0)).toBe(true);
});

const inner = secretManifest(
  secretOf({
    metadata: { name: "evil", namespace: "evil", labels: { a: "b" } },
    stringData: { k: "v" },
    type: "a/b",
  }),
);

function blobOf(object: unknown): SealedSecret {
  const target = { scope: "strict", namespace: "ns", name: "app" } as const;
  const blob = sealItem(Buffer.from(JSON.stringify(object)), target, certificate);
  return {
    metadata: { name: "app", namespace: "ns" },
    template: { metadata: { labels: { not: "this" } } },
    encryptedData: {},
    blob,
  };
}

test("the deprecated blob holds a whole Secret, opened where it is allowed", async () => {
  for (const object of [inner, { ...inner, kind: undefined, apiVersion: undefined }]) {
    const { secret, openedBy } = await unseal(blobOf(object), keys, { acceptBlob: true });
    expect(secret.metadata).toEqual({ name: "app", namespace: "ns", labels: { a: "b" } });
    expect(secret.type).toBe("a/b");
    expect(Buffer.from(secret.entries.get("k")!).toString()).toBe("v");
    expect([...openedBy]).toEqual([key.fingerprint]);
  }
});

test("the deprecated blob is refused without leave, beside items, moved, or holding no Secret", async () => {
  const sealed = blobOf(inner);
  const refusal = (object: SealedSecret) => failureOf(() => unseal(object, keys, { acceptBlob: true }));
  expect(await failureOf(() => unseal(sealed, keys))).toMatchObject({
    code: "InvalidSealedSecret",
    message: expect.stringContaining("deprecated 'data' field") as string,
  });
  expect((await refusal({ ...sealed, encryptedData: { a: "QQ==" } })).message).toContain("at the same time");
  expect((await refusal({ ...sealed, metadata: { name: "other", namespace: "ns" } })).code).toBe(
    "CannotUnseal",
  );
  const broken = [
    "canary-77",
    { kind: "canary-77" },
    { ...inner, data: { "canary-77": "!" } },
    { kind: "canary-77List", items: [1] },
  ];
  for (const object of [...broken, { ...inner, data: { k: "canary-77!" } }, { ...inner, apiVersion: "v2" }]) {
    const failure = await refusal(blobOf(object));
    expect(failure.code).toBe("InvalidSealedSecret");
    expect(failure.message + failure.hint).not.toContain("canary");
  }
});
