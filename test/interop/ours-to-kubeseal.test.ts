import fc from "fast-check";
import { expect, test } from "vitest";
import { readManifests, toJson, toYaml, type JsonObject } from "../../formats/manifest.ts";
import { seal } from "../../formats/seal.ts";
import { parseSealedSecret, sealedSecretManifest } from "../../formats/sealed-secret.ts";
import { parseSecret } from "../../formats/secret.ts";
import { holds } from "../seed.ts";
import { meaningOf, secretCase, type SecretCase } from "./generate-secret.ts";
import { documents, inParallel, keys, kubeseal, sealwright, type KeyFiles } from "./kubeseal.ts";

const perBatch = 20;
const batch = fc.array(secretCase, { minLength: perBatch, maxLength: perBatch, size: "max" });
const anyKey = fc.constantFrom(...keys);
const format = fc.constantFrom("json", "yaml");

/** Opens with the real kubeseal and holds the result against what was sealed. */
async function requireOpened(sealedText: string, { kept }: SecretCase, key: KeyFiles): Promise<void> {
  const others = keys.filter(({ bits }) => bits === 2048).map(({ keyFile }) => keyFile);
  const opened = await kubeseal(
    ["--recovery-unseal", "--recovery-private-key", [...others, key.keyFile].join(",")],
    sealedText,
  );
  const { metadata, type, immutable, data } = JSON.parse(opened) as JsonObject & { metadata: JsonObject };
  const { ownerReferences: _, ...own } = metadata;
  // Its decoder gives an empty value back as null.
  const entries = Object.entries((data ?? {}) as Record<string, string | null>);
  const values = Object.fromEntries(entries.map(([name, value]) => [name, value ?? ""]));
  expect(meaningOf({ metadata: own, type, immutable, data: values })).toEqual(meaningOf(kept));
}

test("T30 sealed by our library, opened by kubeseal: 1000 of 1000, byte by byte", async () => {
  let opened = 0;
  await holds(
    fc.asyncProperty(batch, anyKey, format, async (cases, key, write) => {
      await inParallel(cases, async (one) => {
        const [manifest] = readManifests(Buffer.from(one.text));
        const sealed = await seal(parseSecret(manifest!), { certificate: key.certificate });
        await requireOpened((write === "json" ? toJson : toYaml)(sealedSecretManifest(sealed)), one, key);
        opened += 1;
      });
    }),
    { runs: 1000 / perBatch, processes: true },
  );
  console.log(`library to kubeseal: ${opened} of 1000`);
  expect(opened).toBe(1000);
});

test("T30 sealed by our CLI in batches, opened by kubeseal: 1000 of 1000, byte by byte", async () => {
  let opened = 0;
  await holds(
    fc.asyncProperty(batch, anyKey, format, async (cases, key, write) => {
      const args = [
        "seal",
        "--cert",
        key.certificateFile,
        "--format",
        write,
        "--allow-empty-data",
        "--allow-exposed-values",
      ];
      const output = await sealwright(args, documents(cases.map(({ text }) => text)));
      const sealed = readManifests(Buffer.from(output));
      expect(sealed).toHaveLength(cases.length);
      await inParallel([...cases.entries()], async ([index, one]) => {
        const text = (write === "json" ? toJson : toYaml)(
          sealedSecretManifest(parseSealedSecret(sealed[index]!)),
        );
        await requireOpened(text, one, key);
        opened += 1;
      });
    }),
    { runs: 1000 / perBatch, processes: true },
  );
  console.log(`CLI to kubeseal: ${opened} of 1000`);
  expect(opened).toBe(1000);
});
