import { SecretError } from "../formats/errors.ts";
import {
  durationAtLeast,
  integerWithin,
  oneOf,
  parseBoolean,
  parseKeyPrefix,
  parseList,
  parseListenAddress,
  parseNumber,
  parsePairs,
  parseRfc1123z,
} from "./flag-values.ts";

/** One flag: how its text is read and what holds without it. */
interface Flag<Value> {
  parse: (text: string) => Value;
  /** Text of the default, read by `parse` as any other; `undefined` where absence is a value of its own. */
  fallback: string | undefined;
  /** What a bare `--flag` stands for; `undefined` where a value must follow. */
  bare: string | undefined;
  help: string;
}

type Absent = { fallback: undefined };

function value<Value>(fallback: string, parse: (text: string) => Value, help: string): Flag<Value> {
  return { parse, fallback, bare: undefined, help };
}

function text(fallback: string, help: string): Flag<string> {
  return value(fallback, String, help);
}

function optional<Value>(parse: (text: string) => Value, help: string, bare?: string): Flag<Value> & Absent {
  return { parse, fallback: undefined, bare, help };
}

function toggle(fallback: boolean, help: string): Flag<boolean> {
  return { parse: parseBoolean, fallback: String(fallback), bare: "true", help };
}

const maxInteger = 2 ** 31 - 1;

/** Names and defaults are those of the Sealed Secrets controller, down to `metrics-omit-secret-labels`; then our own. */
const flags = {
  "key-prefix": value("sealed-secrets-key", parseKeyPrefix, "start of the names of key Secrets"),
  "key-size": value("4096", integerWithin(2048, 16_384), "bits of a new RSA key"),
  "key-ttl": value("87600h", durationAtLeast(1000), "validity of a new certificate"),
  "my-cn": text("", "common name in a new certificate"),
  "key-renew-period": value(
    "720h",
    durationAtLeast(0),
    "age at which a new key is made; 0 switches renewal off",
  ),
  "key-order-priority": value(
    "CertNotBefore",
    oneOf("CertNotBefore", "SecretCreationTimestamp"),
    "which time tells the newest key: CertNotBefore or SecretCreationTimestamp",
  ),
  "key-cutoff-time": value(
    "",
    parseRfc1123z,
    "make a new key if the newest is older than this date (RFC 1123, numeric zone)",
  ),
  "privatekey-annotations": value(
    "",
    (pairs) => parsePairs(pairs, "annotation"),
    "annotations of new key Secrets, k=v,k=v",
  ),
  "privatekey-labels": value("", (pairs) => parsePairs(pairs, "label"), "labels of new key Secrets, k=v,k=v"),
  "accept-deprecated-v1-data": toggle(true, "accept the deprecated field spec.data"),
  "all-namespaces": toggle(true, "serve all namespaces; otherwise the controller's own"),
  "additional-namespaces": value("", parseList, "serve these namespaces and the own one, comma-separated"),
  "label-selector": text("", "serve only SealedSecrets with these labels"),
  "rate-limit": value(
    "2",
    integerWithin(1, 1_000_000),
    "requests a second to /v1/verify and to /v1/rotate, for each peer",
  ),
  "rate-limit-burst": value(
    "2",
    integerWithin(0, 1_000_000),
    "requests beyond the rate that may come at once",
  ),
  "old-gc-behavior": toggle(
    false,
    "delete the Secret of a deleted SealedSecret instead of leaving it to Kubernetes",
  ),
  "update-status": toggle(true, "write the status of SealedSecrets"),
  "watch-for-secrets": toggle(false, "accepted for compatibility: new key Secrets are always noticed"),
  "skip-recreate": toggle(false, "do not make a deleted Secret again"),
  "max-unseal-retries": value(
    "5",
    integerWithin(0, maxInteger),
    "accepted for compatibility: a failure is never final",
  ),
  // Upstream allows itself 5, by which thousands of objects take half an hour; the API server has priorities of its own.
  "kubeclient-qps": value("-1", parseNumber, "requests a second to the API server; negative for no limit"),
  "kubeclient-burst": value(
    "10",
    integerWithin(0, maxInteger),
    "requests to the API server that may go at once",
  ),
  "log-info-stdout": toggle(true, "log up to INFO to stdout, the rest to stderr; otherwise all to stderr"),
  "log-level": value(
    "INFO",
    oneOf("DEBUG", "INFO", "WARN", "ERROR"),
    "least level to log: DEBUG, INFO, WARN or ERROR",
  ),
  "log-format": value("text", oneOf("text", "json"), "text or json"),
  "listen-addr": value(":8080", parseListenAddress, "address of the HTTP server"),
  "listen-metrics-addr": value(":8081", parseListenAddress, "address of the metrics server"),
  "read-timeout": value("2m", durationAtLeast(1), "longest time to receive a request"),
  "write-timeout": value("2m", durationAtLeast(1), "longest time to answer a request"),
  "metrics-omit-secret-labels": toggle(false, "export no metric that names a namespace or an object"),
  kubeconfig: optional(String, "kubeconfig to use instead of the pod's service account"),
  context: optional(String, "context of the kubeconfig"),
  embedded: optional(
    (directory) => (directory === "true" ? {} : { directory }),
    "serve a small Kubernetes API on loopback and work on it, in memory or kept in the directory given",
    "true",
  ),
  "embedded-port": value("0", integerWithin(0, 65_535), "port of the embedded API; 0 for any"),
  "leader-elect": toggle(false, "run beside other replicas: one of them writes, all of them serve"),
  workers: value("8", integerWithin(1, 1000), "objects reconciled at once"),
  version: toggle(false, "print the version and exit"),
  help: toggle(false, "print this help and exit"),
} as const satisfies Record<string, Flag<unknown>>;

/** A flag's name without dashes in front. */
export type FlagName = keyof typeof flags;
type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;
type Parsed<F> = F extends { parse: (text: string) => infer Value }
  ? Value | (F extends Absent ? undefined : never)
  : never;

/** The values of all flags, under their names in camel case; durations in ms. `--help` tells what each means. */
export type ControllerFlags = {
  readonly [Name in FlagName as CamelCase<Name>]: Parsed<(typeof flags)[Name]>;
} & {
  /** What the command line or the environment set; the other values are defaults. */
  readonly given: ReadonlySet<FlagName>;
  /** Remarks for the log: deprecated names that were used. */
  readonly warnings: readonly string[];
};

const aliases: Readonly<Record<string, FlagName>> = { "rotate-period": "key-renew-period" };

/** Texts by flag, and everything that is wrong, so that one start shows all mistakes. */
interface Collected {
  texts: Map<FlagName, { text: string; source: string }>;
  problems: string[];
  warnings: string[];
}

/**
 * Reads the controller's command line as Go's pflag does; a flag that it leaves out is taken from the environment variable
 * `SEALED_SECRETS_` and its name in capitals, and else has its default.
 * @param argv without the program
 * @throws SecretError `Usage` with one line for each flag that is unknown or cannot be read
 * @see the Sealed Secrets controller's flags
 */
export function parseControllerFlags(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ControllerFlags {
  const collected: Collected = { texts: new Map(), problems: [], warnings: [] };
  collectEnvironment(env, collected);
  collectArguments(argv, collected);
  const { texts, problems, warnings } = collected;
  const values = Object.entries(flags).map(([name, flag]) => {
    const given = texts.get(name as FlagName) ?? { text: flag.fallback, source: `--${name}` };
    return [
      camelCase(name),
      given.text === undefined ? undefined : read(flag, given.text, given.source, problems),
    ];
  });
  if (texts.has("embedded") && texts.has("kubeconfig")) {
    problems.push("--embedded: cannot be given together with --kubeconfig");
  }
  if (problems.length > 0) {
    throw new SecretError("Usage", problems.join("\n"), { hint: "--help lists the flags" });
  }
  // The table that the values were read by is also what the type is made of.
  return { ...Object.fromEntries(values), given: new Set(texts.keys()), warnings } as ControllerFlags;
}

function read(flag: Flag<unknown>, given: string, source: string, problems: string[]): unknown {
  try {
    return flag.parse(given);
  } catch (error) {
    if (!(error instanceof SecretError)) throw error;
    problems.push(`${source}: ${error.message}`);
    return undefined;
  }
}

function collectEnvironment(env: Readonly<Record<string, string | undefined>>, into: Collected): void {
  for (const name of [...Object.keys(aliases), ...Object.keys(flags)]) {
    const variable = `SEALED_SECRETS_${name.toUpperCase().replaceAll("-", "_")}`;
    const given = env[variable];
    if (given !== undefined && given !== "") record({ name, text: given, source: variable }, into);
  }
}

function collectArguments(argv: readonly string[], into: Collected): void {
  const rest = [...argv];
  for (let argument = rest.shift(); argument !== undefined && argument !== "--"; argument = rest.shift()) {
    const long = argument === "-h" ? "--help" : argument;
    const [, name, equals, inline = ""] = /^--([^=]+)(=?)(.*)$/s.exec(long) ?? [];
    if (name === undefined) {
      if (argument.startsWith("-") && argument !== "-") into.problems.push(`${argument}: unknown flag`);
      continue;
    }
    const flag = flagNamed(name);
    const given = flag === undefined || equals === "=" ? inline : (flag.bare ?? rest.shift());
    if (given === undefined) into.problems.push(`--${name}: needs a value`);
    else record({ name, text: given, source: `--${name}` }, into);
  }
}

function record({ name, ...given }: { name: string; text: string; source: string }, into: Collected): void {
  const own = aliases[name] ?? name;
  if (own !== name) into.warnings.push(`${given.source} is deprecated, use --${own}`);
  if (isFlagName(own)) into.texts.set(own, given);
  else into.problems.push(`${given.source}: unknown flag`);
}

function flagNamed(name: string): Flag<unknown> | undefined {
  const own = aliases[name] ?? name;
  return isFlagName(own) ? flags[own] : undefined;
}

function isFlagName(name: string): name is FlagName {
  return Object.hasOwn(flags, name);
}

function camelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** The text of `--help`. */
export function controllerUsage(): string {
  const rows = Object.entries(flags).map(([name, flag]: [string, Flag<unknown>]) => {
    const shown = flag.fallback === undefined || flag.fallback === "" || flag.fallback === "false";
    return `  --${name.padEnd(28)}${flag.help}${shown ? "" : ` (default ${flag.fallback ?? ""})`}`;
  });
  return [
    "Usage: sealwright-controller [flags]",
    "",
    "Each flag may also be set by the environment: SEALED_SECRETS_ and its name, such as SEALED_SECRETS_KEY_TTL.",
    "Durations are written as in 720h, 1h30m or 90s; a switch is turned off by --name=false.",
    "",
    ...rows.sort(),
    "",
  ].join("\n");
}
