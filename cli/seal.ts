import type { Command } from "commander";
import { SecretError } from "../formats/errors.ts";
import { requireUnexposed } from "../formats/exposure.ts";
import { readManifests, type JsonObject } from "../formats/manifest.ts";
import { encryptionLabel, scopeOf, scopes, targetOf, withScope, type Scope } from "../formats/scope.ts";
import { seal, type SealOptions } from "../formats/seal.ts";
import { parseSealedSecret, sealedSecretManifest, type SealedSecret } from "../formats/sealed-secret.ts";
import type { SealingKey } from "../formats/sealing-key.ts";
import { parseSecret, type Metadata, type Secret } from "../formats/secret.ts";
import { getUsableCertificate } from "./certificate.ts";
import { addFlags, flagsOf } from "./command-flags.ts";
import { certificateFlags, clusterFlags, type Flags } from "./flags.ts";
import { placed, readInputs } from "./input.ts";
import { readPrivateKeys } from "./keys.ts";
import { contextNamespace } from "./kubeconfig.ts";
import { formatOf, render, writeOutput } from "./output.ts";
import { updateFile } from "./output-file.ts";

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
  for (const secret of secrets) requireSealable(secret, flags);
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

/** Reads the Secrets of the inputs, with the flags' name, namespace and scope applied. */
export async function readSecrets(flags: Flags): Promise<Secret[]> {
  const scope = scopeFlag(flags);
  const secrets: Secret[] = [];
  for (const { file, manifests } of await readInputs(flags.secretFile ?? [])) {
    try {
      for (const manifest of manifests) secrets.push(withFlags(parseSecret(manifest), flags, scope));
    } catch (error) {
      throw placed(file, error);
    }
  }
  return secrets;
}

/** The scope that the flags ask for. @throws SecretError `Usage` */
export function scopeFlag(flags: Flags): Scope | undefined {
  if (flags.scope === undefined) return undefined;
  const scope = scopes.find((name) => name === flags.scope);
  if (scope !== undefined) return scope;
  throw new SecretError("Usage", "--scope must be one of: strict, namespace-wide, cluster-wide", {
    hint: "strict binds to name and namespace, namespace-wide to the namespace, cluster-wide to nothing",
  });
}

function withFlags(secret: Secret, flags: Flags, scope: Scope | undefined): Secret {
  const metadata: Metadata = { ...secret.metadata };
  if (flags.name !== undefined) metadata.name = flags.name;
  if (scope !== undefined) metadata.annotations = withScope(metadata.annotations, scope);
  if (metadata.annotations !== undefined && Object.keys(metadata.annotations).length === 0)
    delete metadata.annotations;
  if (scopeOf(metadata) !== "cluster-wide") {
    const namespace = namespaceOf(metadata, flags);
    if (namespace !== undefined) metadata.namespace = namespace;
  }
  return { ...secret, metadata };
}

function namespaceOf(metadata: Metadata, flags: Flags): string | undefined {
  const { namespace } = metadata;
  if (namespace === undefined) return flags.namespace ?? contextNamespace(flags);
  if (flags.namespace === undefined || flags.namespace === namespace) return namespace;
  const message = `namespace mismatch: input secret is in namespace "${namespace}" but "${flags.namespace}" was specified`;
  throw new SecretError("InvalidSecret", message, {
    hint: "drop --namespace, or correct metadata.namespace",
  });
}

/**
 * Refuses what must not be sealed, or could not be used once it is.
 * @throws SecretError `InvalidSecret`, `PlaintextExposed`
 */
export function requireSealable(secret: Secret, flags: Flags): void {
  requireEntries(secret, flags);
  if (secret.metadata.name === undefined) {
    throw new SecretError("InvalidSecret", "missing metadata.name in input Secret", {
      hint: "set metadata.name, or pass --name",
    });
  }
  encryptionLabel(targetOf(secret.metadata));
  if (!allowsExposure(flags)) requireUnexposed(secret);
}

/** Refuses a Secret without entries unless the flags allow it. @throws SecretError `InvalidSecret` */
export function requireEntries(secret: Secret, flags: Flags): void {
  if (secret.entries.size > 0 || flags.allowEmptyData === true) return;
  const message =
    "secret.data is empty in input Secret, assuming this is an error and aborting. To work with empty data, --allow-empty-data can be used";
  throw new SecretError("InvalidSecret", message, { hint: "put entries under `data` or `stringData`" });
}

/** Under kubeseal's command line, which has no flag for it, the environment can say it. */
export function allowsExposure(flags: Flags): boolean {
  return flags.allowExposedValues === true || process.env["SEALWRIGHT_ALLOW_EXPOSED_VALUES"] === "true";
}
