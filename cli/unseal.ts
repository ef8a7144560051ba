import type { Command } from "commander";
import { SecretError } from "../formats/errors.ts";
import type { JsonObject, Manifest } from "../formats/manifest.ts";
import { isAnnotated } from "../formats/scope.ts";
import { parseSealedSecret, sealedSecretKind, type SealedSecret } from "../formats/sealed-secret.ts";
import type { SealingKey } from "../formats/sealing-key.ts";
import { secretManifest, type Secret } from "../formats/secret.ts";
import { sealedScope, unseal } from "../formats/unseal.ts";
import { addFlags, flagsOf } from "./command-flags.ts";
import type { Flags } from "./flags.ts";
import { placed, readInputs } from "./input.ts";
import { requirePrivateKeys } from "./keys.ts";
import { formatOf, render, writeOutput } from "./output.ts";

/** Sets up `sealwright unseal`. */
export function define(command: Command): void {
  command.argument("[files...]", "manifests with SealedSecrets; default: stdin");
  addFlags(command, ["secret-file", "sealed-secret-file", "format", "private-key", "recovery-private-key"]);
  addFlags(command, ["ignore-template-data"]);
  command.action(async () => unsealCommand(flagsOf(command)));
}

/**
 * Opens every SealedSecret of the inputs, and writes the Secrets all or nothing.
 * @param options `withOwner` adds the owner reference that the controller would set
 */
export async function unsealCommand(flags: Flags, options: { withOwner?: boolean } = {}): Promise<void> {
  const format = formatOf(flags);
  const inputs = await readInputs(flags.secretFile ?? []);
  const keys = await requirePrivateKeys(flags);
  const secrets: JsonObject[] = [];
  for (const { file, manifests } of inputs) {
    try {
      for (const manifest of manifests) {
        const sealed = readSealed(manifest, flags);
        const secret = await open(sealed, keys, manifest.place);
        secrets.push(secretManifest(options.withOwner === true ? withOwner(secret, sealed) : secret));
      }
    } catch (error) {
      throw placed(file, error);
    }
  }
  await writeOutput(flags, render(secrets, format), { secret: true });
}

function readSealed(manifest: Manifest, flags: Flags): SealedSecret {
  const sealed = parseSealedSecret(manifest);
  if (sealed.template.data === undefined || flags.ignoreTemplateData === true) return sealed;
  throw new SecretError(
    "TemplateUnsupported",
    `${nameOf(sealed, manifest.place)} has spec.template.data, which is not rendered here`,
    {
      hint: "open its sealed items alone with --ignore-template-data",
    },
  );
}

/** Opens one SealedSecret. @throws SecretError as {@link explained} */
export async function open(
  sealed: SealedSecret,
  keys: readonly SealingKey[],
  place: string,
): Promise<Secret> {
  try {
    return (await unseal(sealed, keys, { acceptBlob: true })).secret;
  } catch (error) {
    throw await explained(error, { sealed, keys, place });
  }
}

/** Names the SealedSecret in an error; where no key fits it, finds out whether one would under another scope. */
export async function explained(
  error: unknown,
  { sealed, keys, place }: { sealed: SealedSecret; keys: readonly SealingKey[]; place: string },
): Promise<unknown> {
  if (!(error instanceof SecretError)) return error;
  const scope = error.code === "CannotUnseal" ? await sealedScope(sealed, keys) : undefined;
  const hint =
    scope === undefined
      ? error.hint
      : `it was sealed ${scope}: set the annotation for that scope, or seal it again`;
  return new SecretError(error.code, `${nameOf(sealed, place)}: ${error.message}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** How a SealedSecret is called in messages. */
export function nameOf({ metadata }: SealedSecret, place: string): string {
  const { name, namespace } = metadata;
  if (name === undefined) return place;
  return `SealedSecret ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}

function withOwner(secret: Secret, sealed: SealedSecret): Secret {
  if (isAnnotated(sealed.template.metadata, "skip-set-owner-references")) return secret;
  const owner = {
    ...sealedSecretKind,
    name: sealed.metadata.name,
    uid: sealed.metadata["uid"] ?? "",
    controller: true,
  };
  return { ...secret, metadata: { ...secret.metadata, ownerReferences: [owner] } };
}
