import type { Command } from "commander";
import { SecretError } from "../formats/errors.ts";
import { editManifests, type Edit } from "../formats/manifest-edit.ts";
import { isObject, readManifests, type JsonObject, type Manifest } from "../formats/manifest.ts";
import { reseal } from "../formats/seal.ts";
import { parseSealedSecret, type SealedSecret } from "../formats/sealed-secret.ts";
import { getUsableCertificate } from "./certificate.ts";
import { addFlags, flagsOf } from "./command-flags.ts";
import { certificateFlags, clusterFlags, type Flags } from "./flags.ts";
import { placed, readInputs } from "./input.ts";
import { readPrivateKeys } from "./keys.ts";
import { formatOf, render, writeOutput } from "./output.ts";
import { updateFile } from "./output-file.ts";
import { explained, nameOf } from "./unseal.ts";

/** Sets up `sealwright reseal`. */
export function define(command: Command): void {
  command.argument(
    "[files...]",
    "files with SealedSecrets, changed in place unless -w is given; default: stdin",
  );
  addFlags(command, [
    "secret-file",
    "sealed-secret-file",
    "format",
    "private-key",
    "recovery-private-key",
    "all",
  ]);
  addFlags(command, [...certificateFlags, ...clusterFlags]);
  command.addHelpText(
    "after",
    [
      "",
      "The controller does it, and the plaintext stays in the cluster. With --private-key it is done here, to the certificate of",
      "--cert or of the cluster; items under its key already are left alone, unless --all is given.",
    ].join("\n"),
  );
  command.action(async () => resealCommand(flagsOf(command)));
}

/** Encrypts one SealedSecret anew. @returns its items, each under its own name */
type Reseal = (sealed: SealedSecret, manifest: Manifest) => Promise<Record<string, string>>;

/** Encrypts every SealedSecret of the inputs anew. All are done before the first byte is written. */
export async function resealCommand(flags: Flags): Promise<void> {
  const format = formatOf(flags);
  const inputs = await readInputs(flags.secretFile ?? []);
  const resealOne = await resealer(flags);
  const done: { file: string | undefined; before: Uint8Array; after: Uint8Array }[] = [];
  for (const { file, bytes } of inputs) {
    done.push({ file, before: bytes, after: await resealBytes(bytes, { file, resealOne }) });
  }
  const inPlace = flags.sealedSecretFile === undefined && (flags.secretFile ?? []).length > 0;
  if (!inPlace) {
    const objects = done.flatMap(({ after }) => readManifests(after).map(({ object }) => object));
    return writeOutput(flags, render(objects, format));
  }
  for (const { file, before, after } of done) {
    if (file === undefined) continue;
    await updateFile(file, (now = Buffer.alloc(0)) =>
      Buffer.compare(now, before) === 0 ? after : resealBytes(now, { file, resealOne }),
    );
  }
}

async function resealBytes(
  bytes: Uint8Array,
  { file, resealOne }: { file: string | undefined; resealOne: Reseal },
): Promise<Uint8Array> {
  const edits: Edit[] = [];
  try {
    for (const manifest of readManifests(bytes)) {
      const sealed = parseSealedSecret(manifest);
      const encryptedData = await resealOne(sealed, manifest);
      const changed = Object.entries(encryptedData).filter(
        ([entry, item]) => sealed.encryptedData[entry] !== item,
      );
      if (changed.length === 0 || manifest.location === undefined) continue;
      edits.push({
        location: manifest.location,
        changes: { spec: { encryptedData: Object.fromEntries(changed) } },
      });
    }
    return editManifests(bytes, edits);
  } catch (error) {
    throw placed(file, error);
  }
}

async function resealer(flags: Flags): Promise<Reseal> {
  const keys = await readPrivateKeys(flags);
  if (keys.length === 0) return throughController(flags);
  const certificate = await getUsableCertificate(flags);
  const keepCurrent = flags.all !== true;
  return async (sealed, { place }) => {
    requireItems(sealed, place);
    try {
      return (await reseal(sealed, keys, { certificate, keepCurrent })).encryptedData;
    } catch (error) {
      throw await explained(error, { sealed, keys, place });
    }
  };
}

function requireItems(sealed: SealedSecret, place: string): void {
  if (sealed.blob === undefined) return;
  const message = `${nameOf(sealed, place)}: the deprecated 'data' field is not accepted`;
  throw new SecretError("InvalidSealedSecret", message, {
    hint: "open it with `sealwright unseal` and seal the Secret again: its items then stand under spec.encryptedData",
  });
}

async function throughController(flags: Flags): Promise<Reseal> {
  const controller = await (await import("./controller-service.ts")).openController(flags);
  return async (sealed, { object, place }) => {
    requireItems(sealed, place);
    const answer = await controller.rotate(object);
    if (answer === undefined) {
      throw new SecretError("CannotUnseal", `unable to rotate secret: ${nameOf(sealed, place)}`, {
        hint: "it was sealed for another cluster, name, namespace or scope; seal the Secret again",
      });
    }
    return itemsOf(answer, { sealed, place });
  };
}

/**
 * Only the items of an answer are taken: a controller may send back less of the rest than it got. Other items than those that
 * were sent are refused, as where it has rendered the template into them.
 */
function itemsOf(
  answer: JsonObject,
  { sealed, place }: { sealed: SealedSecret; place: string },
): Record<string, string> {
  const spec = isObject(answer["spec"]) ? answer["spec"] : {};
  const items = isObject(spec["encryptedData"]) ? spec["encryptedData"] : {};
  const names = [...new Set([...Object.keys(items), ...Object.keys(sealed.encryptedData)])].sort();
  const wrong = names.filter(
    (name) => !Object.hasOwn(sealed.encryptedData, name) || typeof items[name] !== "string",
  );
  if (wrong.length === 0) return items as Record<string, string>;
  throw new SecretError(
    "Rejected",
    `${nameOf(sealed, place)}: the controller's answer adds or drops items (${wrong.join(", ")})`,
    { hint: "reseal offline with --private-key, or seal the Secret again; nothing was written" },
  );
}
