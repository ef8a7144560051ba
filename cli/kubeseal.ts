import { accessSync, constants } from "node:fs";
import { SecretError } from "../formats/errors.ts";
import { scopes } from "../formats/scope.ts";
import { getCertificate } from "./certificate.ts";
import { flags as table, flagKey, presets, type Flag, type FlagName, type Flags } from "./flags.ts";
import { reasonOf } from "./input.ts";
import { writeOutput } from "./output.ts";
import { describePFlags, helpAsked, parsePFlags, type PFlag } from "./pflag.ts";
import { printNote, printResult } from "./terminal.ts";
import { version } from "./version.ts";

/** kubeseal's own command line, mapped onto our verbs. */
type Row = PFlag & { usage: string; default?: string };

const usageError = 2;

/** Logging flags that every Go program of its kind has; there is no log here for them to change. */
const logFlags: readonly Row[] = [
  ...[
    "add_dir_header",
    "alsologtostderr",
    "legacy_stderr_threshold_behavior",
    "logtostderr",
    "one_output",
    "skip_headers",
    "skip_log_headers",
  ].map((name) => ({ name, kind: "boolean" as const, usage: "accepted, without effect" })),
  ...[
    "alsologtostderrthreshold",
    "log_backtrace_at",
    "log_dir",
    "log_file",
    "stderrthreshold",
    "vmodule",
  ].map((name) => ({ name, kind: "string" as const, usage: "accepted, without effect" })),
  { name: "log_file_max_size", kind: "number", usage: "accepted, without effect" },
  { name: "v", short: "v", kind: "number", usage: "accepted, without effect" },
];

const rows: readonly Row[] = [
  ...(Object.keys(table) as FlagName[]).flatMap((name) => {
    const { own, short, ...flag }: Flag = table[name];
    // Upstream's help has no letter of its own; `-h` asks for help all the same.
    return own ? [] : [{ name, ...flag, ...(short === undefined || name === "help" ? {} : { short }) }];
  }),
  ...logFlags,
];

/** Runs kubeseal's command line. @returns the exit code @throws SecretError, which kubeseal's users see as exit code 1 */
export async function runKubeseal(args: readonly string[]): Promise<number> {
  const flags = await readFlags(args);
  if (flags === undefined) return usageError;
  if (flags.help === true) await printResult(usageText());
  else if (flags.version === true) await printResult(`kubeseal version: v${version}\n`);
  else await dispatch(flags);
  return 0;
}

function usageText(): string {
  return `Usage of kubeseal:\n${describePFlags(rows)}`;
}

/** @returns `undefined` where the command line is wrong and the user has been told, in the places where kubeseal tells */
async function readFlags(args: readonly string[]): Promise<Flags | undefined> {
  try {
    const parsed = parsePFlags(args, rows);
    if (parsed === helpAsked) return { help: true };
    const names = rows.map(({ name }) => name).filter((name) => name in table) as FlagName[];
    const given = names.flatMap((name) =>
      parsed.has(name) ? [[flagKey(name), parsed.get(name)] as const] : [],
    );
    const flags = { ...usablePresets(), ...Object.fromEntries(given) };
    if (!isScope(flags.scope)) {
      throw new SecretError(
        "Usage",
        `invalid argument for "--scope" flag: must be one of: ${scopes.join(", ")}`,
      );
    }
    return withoutDefaults(flags);
  } catch (error) {
    if (!(error instanceof SecretError) || error.code !== "Usage") throw error;
    printNote("Usage of kubeseal:");
    await printResult(`${describePFlags(rows)}${error.message}\n`);
    return undefined;
  }
}

function isScope(text: string | undefined): boolean {
  return text === undefined || text === "" || (scopes as readonly string[]).includes(text);
}

function usablePresets(): Flags {
  const { scope, ...others } = presets(process.env);
  return isScope(scope) ? { scope, ...others } : others;
}

/** An empty value says nothing, and neither does `strict`: an annotation on the Secret then still decides. */
function withoutDefaults(flags: Flags): Flags {
  const said = Object.entries(flags).filter(
    ([key, value]) => value !== "" && !(key === "scope" && value === "strict"),
  );
  return Object.fromEntries(said);
}

/** Where several modes are asked for, kubeseal's own order decides. */
async function dispatch(flags: Flags): Promise<void> {
  if (flags.fromFile !== undefined && flags.raw !== true) {
    throw new SecretError("Usage", "--from-file requires --raw", { hint: "give manifests with -f" });
  }
  requireReadable(flags.secretFile?.at(-1));
  if (flags.recoveryUnseal === true)
    return (await import("./unseal.ts")).unsealCommand(flags, { withOwner: true });
  if (flags.validate === true) return (await import("./verify.ts")).verifyCommand(withoutKeys(flags));
  if (flags.reEncrypt === true || flags.rotate === true) {
    if (flags.rotate === true) printNote("Flag --rotate has been deprecated, use --re-encrypt instead");
    return (await import("./reseal.ts")).resealCommand(withoutKeys(flags));
  }
  if (flags.fetchCert === true) return writeOutput(flags, (await getCertificate(flags)).pem);
  return (await import("./seal.ts")).sealCommand(withoutKeys(flags));
}

function requireReadable(file: string | undefined): void {
  try {
    if (file !== undefined) accessSync(file, constants.R_OK);
  } catch (cause) {
    throw new SecretError("FileUnusable", "Could not read file specified with --secret-file", {
      cause,
      hint: `open ${file ?? ""}: ${reasonOf(cause)}`,
    });
  }
}

/** Private keys are for --recovery-unseal alone, though a preset may name them always. */
function withoutKeys({ recoveryPrivateKey: _, ...flags }: Flags): Flags {
  return flags;
}
