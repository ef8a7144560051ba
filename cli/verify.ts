import type { Command } from "commander";
import { SecretError } from "../formats/errors.ts";
import { parseSealedSecret, type SealedSecret } from "../formats/sealed-secret.ts";
import { addFlags, flagsOf } from "./command-flags.ts";
import { clusterFlags, type Flags } from "./flags.ts";
import { placed, readInputs } from "./input.ts";
import { readPrivateKeys } from "./keys.ts";
import { nameOf, open } from "./unseal.ts";
import type { Manifest } from "../formats/manifest.ts";

/** Sets up `sealwright verify`. */
export function define(command: Command): void {
  command.argument("[files...]", "manifests with SealedSecrets; default: stdin");
  addFlags(command, ["secret-file", "private-key", "recovery-private-key", ...clusterFlags]);
  command.addHelpText(
    "after",
    "\nAsks the controller; with --private-key it tries the keys itself, offline. Exit code 4: cannot be opened.",
  );
  command.action(async () => verifyCommand(flagsOf(command)));
}

type Check = (sealed: SealedSecret, manifest: Manifest) => Promise<void>;

/**
 * Checks that every SealedSecret of the inputs can be opened. All inputs are read before the first is asked about.
 * @throws SecretError `CannotUnseal` for the first that cannot
 */
export async function verifyCommand(flags: Flags): Promise<void> {
  const inputs = await readInputs(flags.secretFile ?? []);
  const all = inputs.flatMap(({ file, manifests }) => {
    try {
      return manifests.map((manifest) => ({ file, manifest, sealed: parseSealedSecret(manifest) }));
    } catch (error) {
      throw placed(file, error);
    }
  });
  const check = await checker(flags);
  for (const { file, manifest, sealed } of all) {
    await check(sealed, manifest).catch((error: unknown) => {
      throw placed(file, error);
    });
  }
}

async function checker(flags: Flags): Promise<Check> {
  const keys = await readPrivateKeys(flags);
  if (keys.length > 0) {
    return async (sealed, { place }) => {
      const { entries } = await open(sealed, keys, place);
      for (const value of entries.values()) value.fill(0);
    };
  }
  const controller = await (await import("./controller-service.ts")).openController(flags);
  return async (sealed, { object, place }) => {
    if (await controller.verify(object)) return;
    throw new SecretError(
      "CannotUnseal",
      `unable to decrypt sealed secret: ${sealed.metadata.name ?? nameOf(sealed, place)}`,
      {
        hint: "it was sealed for another cluster, name, namespace or scope; seal the Secret again",
      },
    );
  };
}
