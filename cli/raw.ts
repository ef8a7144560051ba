import { SecretError } from "../formats/errors.ts";
import type { Scope } from "../formats/scope.ts";
import { sealItem } from "../formats/seal.ts";
import { getUsableCertificate } from "./certificate.ts";
import type { Flags } from "./flags.ts";
import { readInputFile, readStdin } from "./input.ts";
import { contextNamespace, noConfiguration } from "./kubeconfig.ts";
import { writeOutput } from "./output.ts";
import { scopeFlag } from "./secrets.ts";

/** Seals one bare value, and writes its base64 without a line end, to be put under `spec.encryptedData`. */
export async function sealRaw(flags: Flags): Promise<void> {
  const certificate = await getUsableCertificate(flags);
  const scope = scopeFlag(flags) ?? "strict";
  const target = { scope, ...placeFor(scope, flags) };
  const value = await readValue(flags);
  await writeOutput(flags, sealItem(value, target, certificate));
}

function placeFor(scope: Scope, flags: Flags): { namespace?: string; name?: string } {
  if (scope === "cluster-wide") return {};
  const namespace = flags.namespace ?? contextNamespace(flags);
  if (namespace === undefined) {
    throw new SecretError("Usage", noConfiguration, { hint: "name the namespace with --namespace" });
  }
  if (scope === "namespace-wide") return { namespace };
  if (flags.name === undefined) throw nameMissing(scope);
  return { namespace, name: flags.name };
}

function nameMissing(scope: Scope): SecretError {
  return new SecretError("Usage", `must provide the --name flag with --raw and --scope ${scope}`, {
    hint: "the value opens only in a Secret of that name; a wider scope needs none",
  });
}

async function readValue(flags: Flags): Promise<Uint8Array> {
  const [source, ...more] = flags.fromFile ?? [];
  if (source === undefined) return readStdin();
  if (more.length > 0) {
    const message = "must provide only one --from-file when encrypting a single item with --raw";
    throw new SecretError("Usage", message, { hint: "call once for each value, or seal a Secret manifest" });
  }
  return readInputFile(source.replace(/^[^=]*=/, ""));
}
