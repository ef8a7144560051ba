import { beforeAll, describe, expect, test } from "vitest";
import type { Kube, KubeObject } from "../../controller/kube-api.ts";
import { SealingKeys, type KeyPolicy } from "../../controller/sealing-keys.ts";
import { encodeBase64 } from "../../formats/base64.ts";
import { issueKey, type IssuedKey } from "../../formats/issue-key.ts";

const day = 24 * 3_600_000;
const now = new Date("2026-06-01T00:00:00Z");
const policy: KeyPolicy = {
  namespace: "kube-system",
  prefix: "sealed-secrets-key",
  bits: 2048,
  ttlMs: 3650 * day,
  renewPeriodMs: 30 * day,
  cutoff: undefined,
  order: "CertNotBefore",
  commonName: "",
  labels: { team: "a", "sealedsecrets.bitnami.com/sealed-secrets-key": "no" },
  annotations: {},
};
let issued: IssuedKey[];

beforeAll(async () => {
  const at = [-40, -20, -10].map((days) => new Date(now.getTime() + days * day));
  issued = await Promise.all(
    at.map((notBefore) => issueKey({ bits: 2048, commonName: "", notBefore, ttlSeconds: 1e8 })),
  );
});

function keySecret(
  index: number,
  name = `key-${index}`,
  creationTimestamp = "2026-01-01T00:00:00Z",
): KubeObject {
  const { privateKeyPem, certificatePem } = issued[index]!;
  const data = {
    "tls.key": encodeBase64(Buffer.from(privateKeyPem)),
    "tls.crt": encodeBase64(Buffer.from(certificatePem)),
  };
  return { kind: "Secret", metadata: { name, creationTimestamp }, data };
}

/** A cluster that records what is created; only `create` is called here. */
function recorder(): { kube: Kube; created: KubeObject[] } {
  const created: KubeObject[] = [];
  const create = (_: unknown, object: KubeObject): Promise<KubeObject> => {
    created.push(object);
    return Promise.resolve({
      ...object,
      metadata: { ...object.metadata, name: `${policy.prefix}${created.length}` },
    });
  };
  return { kube: { create } as unknown as Kube, created };
}

async function keysWith(
  indexes: number[],
  change: Partial<KeyPolicy> = {},
): Promise<{ keys: SealingKeys; created: KubeObject[] }> {
  const { kube, created } = recorder();
  const keys = new SealingKeys(kube, { ...policy, ...change }, () => now);
  for (const index of indexes) await keys.register(keySecret(index));
  return { keys, created };
}

describe("SealingKeys", () => {
  test("the newest certificate serves, whatever the order of arrival; hints come first", async () => {
    const { keys } = await keysWith([1, 2, 0]);
    expect(keys.certificate?.pem).toBe(issued[2]!.certificatePem);
    const [newest, , oldest] = keys.ordered();
    expect(keys.ordered(new Set([oldest!.fingerprint]))[0]).toBe(oldest);
    expect(keys.ordered(new Set([oldest!.fingerprint]))[1]).toBe(newest);
  });

  test("behind hints and the newest, the key used last comes first", async () => {
    const { keys } = await keysWith([0, 1, 2]);
    const [newest, middle, oldest] = keys.ordered().map(({ fingerprint }) => fingerprint);
    keys.used([oldest!]);
    expect(keys.ordered().map(({ fingerprint }) => fingerprint)).toEqual([newest, oldest, middle]);
    keys.used([middle!]);
    expect(keys.ordered().map(({ fingerprint }) => fingerprint)).toEqual([newest, middle, oldest]);
    expect(keys.certificate?.fingerprint).toBe(newest);
  });

  test("SecretCreationTimestamp orders by the Secret's age instead", async () => {
    const { keys } = await keysWith([], { order: "SecretCreationTimestamp" });
    await keys.register(keySecret(2, "old", "2020-01-01T00:00:00Z"));
    await keys.register(keySecret(0, "new", "2026-01-01T00:00:00Z"));
    expect(keys.certificate?.pem).toBe(issued[0]!.certificatePem);
  });

  test.each([
    ["no key at all", [], {}, true],
    ["a newest key older than the period", [0], {}, true],
    ["a newest key within the period", [0, 1], {}, false],
    ["renewal off", [0], { renewPeriodMs: 0 }, false],
    ["a cut-off after the newest key", [2], { cutoff: new Date(now.getTime() - day) }, true],
    ["a cut-off before the newest key", [2], { cutoff: new Date(now.getTime() - 11 * day) }, false],
    [
      "a cut-off in the future, which no key could ever satisfy",
      [2],
      { cutoff: new Date(now.getTime() + day) },
      false,
    ],
  ])("renewal: %s", async (_what, indexes, change, due) => {
    const { keys, created } = await keysWith(indexes, change);
    expect(await keys.renewIfDue()).toBe(due);
    expect(created.length).toBe(due ? 1 : 0);
  });

  test.each([10 * 365 * day, -10 * 365 * day, day / 24, -day / 24])(
    "T46 with a clock that is wrong by %d ms, at most one key is made, however often it is asked for",
    async (wrongMs) => {
      const { kube, created } = recorder();
      const keys = new SealingKeys(kube, policy, () => new Date(now.getTime() + wrongMs));
      await keys.register(keySecret(1));
      for (let check = 0; check < 5; check++) await keys.renewIfDue();
      expect(created).toHaveLength(wrongMs > 30 * day ? 1 : 0);
    },
  );

  test("a new key is stored as upstream stores it, before its certificate is served", async () => {
    const { keys, created } = await keysWith([0]);
    const before = keys.certificate;
    const renewing = keys.renew();
    expect(keys.certificate).toBe(before);
    await Promise.all([renewing, keys.renew()]);
    expect(created).toHaveLength(1);
    expect(created[0]).toMatchObject({
      type: "kubernetes.io/tls",
      metadata: {
        generateName: policy.prefix,
        labels: { team: "a", "sealedsecrets.bitnami.com/sealed-secrets-key": "active" },
      },
    });
    expect(keys.certificate).not.toBe(before);
    expect(keys.ordered()).toHaveLength(2);
  });

  test("keys made within one second follow each other, and the last is served", async () => {
    const { keys } = await keysWith([]);
    const served: (string | undefined)[] = [];
    for (let made = 0; made < 3; made += 1) {
      await keys.renew();
      served.push(keys.certificate?.fingerprint);
    }
    expect(new Set(served).size).toBe(3);
  });

  test("a key that cannot be stored is not served", async () => {
    const create = (): Promise<never> => Promise.reject(new Error("no space"));
    const keys = new SealingKeys({ create } as unknown as Kube, policy, () => now);
    await expect(keys.renew()).rejects.toThrow();
    expect(keys.certificate).toBeUndefined();
  });

  test.each([
    ["no PEM", { "tls.key": "eA==", "tls.crt": "eA==" }],
    ["no entries", {}],
    ["another key's certificate", undefined],
  ])("T11: a malformed key Secret is refused: %s", async (_what, data) => {
    const { keys } = await keysWith([2]);
    const mixed = { "tls.key": keySecret(0)["data"], "tls.crt": keySecret(1)["data"] } as Record<
      string,
      Record<string, string>
    >;
    const entries = data ?? {
      "tls.key": mixed["tls.key"]!["tls.key"],
      "tls.crt": mixed["tls.crt"]!["tls.crt"],
    };
    await expect(
      keys.register({ kind: "Secret", metadata: { name: "bad" }, data: entries }),
    ).rejects.toMatchObject({ message: "key Secret bad is malformed and skipped" });
    expect(keys.ordered()).toHaveLength(1);
  });

  test("changes are told: which fingerprints came and went", async () => {
    const { keys } = await keysWith([0]);
    const [print] = keys.ordered().map((key) => key.fingerprint);
    expect(await keys.register(keySecret(0))).toBeUndefined();
    const replaced = await keys.register(keySecret(1, "key-0"));
    expect(replaced?.removed).toEqual([print]);
    expect(keys.remove("key-0")?.removed).toEqual(replaced?.added);
    expect(keys.remove("key-0")).toBeUndefined();
  });
});
