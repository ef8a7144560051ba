import { SecretError } from "../formats/errors.ts";
import { readKeyFile, type SealingKey } from "../formats/sealing-key.ts";
import type { Flags } from "./flags.ts";
import { placed, readInputFile } from "./input.ts";

/**
 * Reads the private keys that the flags name.
 * @returns an empty list where they name none
 * @throws SecretError `FileUnusable`, `InvalidKey`
 */
export async function readPrivateKeys(flags: Flags): Promise<SealingKey[]> {
  const files = [...(flags.privateKey ?? []), ...(flags.recoveryPrivateKey ?? [])];
  const keys: SealingKey[] = [];
  for (const file of files) {
    const bytes = await readInputFile(file);
    try {
      keys.push(...(await readKeyFile(bytes)));
    } catch (error) {
      throw placed(file, error);
    } finally {
      bytes.fill(0);
    }
  }
  return keys;
}

/** As {@link readPrivateKeys}, where the command cannot do without. @throws SecretError also `Usage` */
export async function requirePrivateKeys(flags: Flags): Promise<SealingKey[]> {
  const keys = await readPrivateKeys(flags);
  if (keys.length > 0) return keys;
  throw new SecretError("Usage", "no key could decrypt secret (no private key is given)", {
    hint: "give --private-key with a PEM file, or with the controller's key Secrets as YAML",
  });
}
