import { SecretError } from "../formats/errors.ts";
import { toJson, toYaml, type JsonObject } from "../formats/manifest.ts";
import type { Flags } from "./flags.ts";
import { updateFile } from "./output-file.ts";
import { printResult } from "./terminal.ts";

/** How manifests are written. */
export type Format = "json" | "yaml";

/** The format that the flags ask for; a file that is called YAML gets YAML. @throws SecretError `Usage` for another */
export function formatOf(flags: Flags): Format {
  if (/\.ya?ml$/i.test(flags.sealedSecretFile ?? "")) return "yaml";
  const format = (flags.format ?? "json").toLowerCase();
  if (format === "json" || format === "yaml") return format;
  throw new SecretError("Usage", `unsupported output format: ${flags.format ?? ""}`, {
    hint: "give -o json or -o yaml",
  });
}

/** Writes manifests one after another: YAML documents each under a `---` line, JSON objects as they are. */
export function render(objects: readonly JsonObject[], format: Format): string {
  return objects.map((object) => (format === "yaml" ? `---\n${toYaml(object)}` : toJson(object))).join("");
}

/**
 * Writes a command's result to the file that the flags name, or to stdout.
 * @param options `secret` for plaintext: a file is then its owner's alone
 * @throws SecretError `FileUnusable`
 */
export async function writeOutput(
  flags: Flags,
  result: string,
  options: { secret?: boolean } = {},
): Promise<void> {
  const file = flags.sealedSecretFile;
  if (file === undefined) await printResult(result);
  else await updateFile(file, () => result, options);
}
