import fc from "fast-check";
import { expect, test } from "vitest";
import { readManifests, toJson, type JsonObject, type Manifest } from "../../formats/manifest.ts";
import { seal, sealItem } from "../../formats/seal.ts";
import { parseSealedSecret, sealedSecretManifest } from "../../formats/sealed-secret.ts";
import { parseSecret, secretManifest } from "../../formats/secret.ts";
import { openItems, unseal } from "../../formats/unseal.ts";
import { holds } from "../seed.ts";
import { meaningOf, secretCase, type SecretCase } from "./generate-secret.ts";
import { documents, inParallel, keys, kubeseal, type KeyFiles } from "./kubeseal.ts";

const perBatch = 20;
const batch = fc.array(secretCase, { minLength: perBatch, maxLength: perBatch, size: "max" });
const anyKey = fc.constantFrom(...keys);
const ring = keys.map(({ key }) => key);

/** Seals a batch with one run of the real kubeseal. */
async function kubesealed(cases: readonly SecretCase[], key: KeyFiles, format: string): Promise<Manifest[]> {
  // Its decoder takes the whole input for what the first document is.
  const json = cases.map(({ manifest }) => toJson(manifest)).join("");
  const yaml = documents(cases.map(({ text }) => text));
  const output = await kubeseal(
    ["--cert", key.certificateFile, "--format", format, "--allow-empty-data"],
    cases[0]?.text.startsWith("{") === true ? json : yaml,
  );
  const manifests = readManifests(Buffer.from(output));
  expect(manifests).toHaveLength(cases.length);
  return manifests;
}

test("T30 sealed by kubeseal, opened by ours: 1000 of 1000, byte by byte", async () => {
  let opened = 0;
  await holds(
    fc.asyncProperty(batch, anyKey, fc.constantFrom("json", "yaml"), async (cases, key, format) => {
      const manifests = await kubesealed(cases, key, format);
      for (const [index, manifest] of manifests.entries()) {
        const { secret } = await unseal(parseSealedSecret(manifest), ring);
        const { metadata, type, immutable, data } = secretManifest(secret);
        expect(meaningOf({ metadata, type, immutable, data })).toEqual(meaningOf(cases[index]!.kept));
        opened += 1;
      }
    }),
    { runs: 1000 / perBatch, processes: true },
  );
  console.log(`kubeseal to ours: ${opened} of 1000`);
  expect(opened).toBe(1000);
});

/** Everything but the ciphertexts, whose lengths stay. */
function outlineOf(object: JsonObject): JsonObject {
  const { encryptedData, ...spec } = object["spec"] as JsonObject & { encryptedData: Record<string, string> };
  const lengths = Object.entries(encryptedData).map(([name, item]) => [name, item.length] as const);
  return meaningOf({ ...object, spec: { ...spec, encryptedData: Object.fromEntries(lengths) } });
}

test("ours and kubeseal make the same SealedSecret of the same Secret: 1000 of 1000, but for the ciphertext", async () => {
  let same = 0;
  await holds(
    fc.asyncProperty(batch, anyKey, async (cases, key) => {
      const theirs = await kubesealed(cases, key, "json");
      for (const [index, { text }] of cases.entries()) {
        const [manifest] = readManifests(Buffer.from(text));
        const ours = sealedSecretManifest(
          await seal(parseSecret(manifest!), { certificate: key.certificate }),
        );
        expect(outlineOf(ours)).toEqual(outlineOf(theirs[index]!.object));
        same += 1;
      }
    }),
    { runs: 1000 / perBatch, processes: true },
  );
  console.log(`same SealedSecret: ${same} of 1000`);
  expect(same).toBe(1000);
});

const rawCase = secretCase.map(({ manifest, scope }) => {
  const { name, namespace = "some" } = manifest["metadata"] as { name: string; namespace?: string };
  const [value = ""] = Object.values(manifest["data"] as Record<string, string>);
  return { target: { scope, name, namespace }, value: Buffer.from(value, "base64") };
});

test("raw items: kubeseal's open with ours, ours have the same size: 1000 of 1000", async () => {
  let opened = 0;
  await holds(
    fc.asyncProperty(
      fc.array(rawCase, { minLength: perBatch, maxLength: perBatch, size: "max" }),
      anyKey,
      async (cases, key) => {
        await inParallel(cases, async ({ target, value }) => {
          const place = ["--name", target.name, "--namespace", target.namespace, "--scope", target.scope];
          const item = await kubeseal(["--raw", "--cert", key.certificateFile, ...place], value);
          const { entries, requireAll } = await openItems({ item }, target, ring);
          requireAll();
          expect(Buffer.compare(entries.get("item")!, value)).toBe(0);
          expect(sealItem(value, target, key.certificate)).toHaveLength(item.length);
          opened += 1;
        });
      },
    ),
    { runs: 1000 / perBatch, processes: true },
  );
  console.log(`kubeseal --raw to ours: ${opened} of 1000`);
  expect(opened).toBe(1000);
});
