import type { Command } from "commander";
import { SecretError } from "../formats/errors.ts";
import { readManifests, type JsonObject } from "../formats/manifest.ts";
import { seal, type SealOptions } from "../formats/seal.ts";
import { parseSealedSecret, sealedSecretManifest, type SealedSecret } from "../formats/sealed-secret.ts";
import type { SealingKey } from "../formats/sealing-key.ts";
import type { Secret } from "../formats/secret.ts";
import { getUsableCertificate } from "./certificate.ts";
import { addFlags, flagsOf } from "./command-flags.ts";
import { certificateFlags, clusterFlags, type Flags } from "./flags.ts";
import { within } from "./input.ts";
import { readPrivateKeys } from "./keys.ts";
import { formatOf, render, writeOutput } from "./output.ts";
import { updateFile } from "./output-file.ts";
import { readSecrets, requireSealable } from "./secrets.ts";

/** Sets up `sealwright seal`. */
export function define(command: Command): void {
  command.argument("[files...]", "manifests with Secrets; default: stdin");
  addFlags(command, ["secret-file", "sealed-secret-file", "format", "scope", "name", "namespace"]);
  addFlags(command, ["allow-empty-data", "allow-exposed-values", "raw", "from-file", "merge-into"]);
  addFlags(command, ["private-key", "recovery-private-key", ...certificateFlags, ...clusterFlags]);
  command.addHelpText(
    "after",
    [
      "",
      "With --private-key and an output file that exists, entries whose value is unchanged keep their ciphertext.",
      "",
      "  sealwright seal secret.yaml --cert cluster.pem -w sealed.yaml",
      "  sealwright seal secret.yaml --cert cluster.pem --merge-into sealed.yaml",
      "  printf %s hunter2hunter2 | sealwright seal --raw --name db --namespace prod --cert cluster.pem",
    ].join("\n"),
  );
  command.action(async () => sealCommand(flagsOf(command)));
}

/** Seals by the flags' mode: one bare value, into an existing file, or whole Secrets. */
export async function sealCommand(flags: Flags): Promise<void> {
  if (flags.fromFile !== undefined && flags.raw !== true) {
    throw new SecretError("Usage", "--from-file requires --raw", { hint: "give manifests with -f" });
  }
  if (flags.mergeInto !== undefined) return (await import("./merge.ts")).mergeInto(flags, flags.mergeInto);
  if (flags.raw === true) return (await import("./raw.ts")).sealRaw(flags);
  return sealSecrets(flags);
}

/** Seals every Secret of the inputs, and writes them all or nothing. */
async function sealSecrets(flags: Flags): Promise<void> {
  const format = formatOf(flags);
  const certificate = await getUsableCertificate(flags);
  const keys = await readPrivateKeys(flags);
  const secrets = await readSecrets(flags);
  for (const [index, secret] of secrets.entries()) {
    const which =
      secrets.length === 1 ? undefined : `Secret ${secret.metadata.name ?? `number ${index + 1}`}`;
    within(which, () => requireSealable(secret, flags));
  }
  const sealAll = async (before: readonly SealedSecret[]): Promise<string> => {
    const sealed: JsonObject[] = [];
    for (const secret of secrets) {
      const previous = previousOf(secret, { before, keys });
      sealed.push(sealedSecretManifest(await seal(secret, { certificate, previous })));
    }
    return render(sealed, format);
  };
  const file = flags.sealedSecretFile;
  if (file === undefined || keys.length === 0) return writeOutput(flags, await sealAll([]));
  await updateFile(file, (bytes) =>
    sealAll(bytes === undefined ? [] : readManifests(bytes).map(parseSealedSecret)),
  );
}

function previousOf(
  { metadata }: Secret,
  { before, keys }: { before: readonly SealedSecret[]; keys: readonly SealingKey[] },
): SealOptions["previous"] {
  const sealed = before.find(
    (one) => one.metadata.name === metadata.name && one.metadata.namespace === metadata.namespace,
  );
  return sealed === undefined ? undefined : { sealed, keys };
}
