import { describe, expect, test } from "vitest";
import { controllerUsage, parseControllerFlags } from "../../controller/flags.ts";
import { SecretError } from "../../formats/errors.ts";

function parse(...argv: string[]) {
  return parseControllerFlags(argv, {});
}

function problems(argv: string[], env: Record<string, string> = {}): string[] {
  try {
    parseControllerFlags(argv, env);
  } catch (error) {
    expect(error).toBeInstanceOf(SecretError);
    expect((error as SecretError).code).toBe("Usage");
    return (error as SecretError).message.split("\n");
  }
  return [];
}

const hour = 3_600_000;

test("defaults are upstream's, but for the client's own limit", () => {
  const { given, warnings, ...values } = parse();
  expect(values).toEqual({
    keyPrefix: "sealed-secrets-key",
    keySize: 4096,
    keyTtl: 87_600 * hour,
    myCn: "",
    keyRenewPeriod: 720 * hour,
    keyOrderPriority: "CertNotBefore",
    keyCutoffTime: undefined,
    privatekeyAnnotations: {},
    privatekeyLabels: {},
    acceptDeprecatedV1Data: true,
    allNamespaces: true,
    additionalNamespaces: [],
    labelSelector: "",
    rateLimit: 2,
    rateLimitBurst: 2,
    oldGcBehavior: false,
    updateStatus: true,
    watchForSecrets: false,
    skipRecreate: false,
    maxUnsealRetries: 5,
    kubeclientQps: -1,
    kubeclientBurst: 10,
    logInfoStdout: true,
    logLevel: "INFO",
    logFormat: "text",
    listenAddr: { port: 8080 },
    listenMetricsAddr: { port: 8081 },
    readTimeout: 120_000,
    writeTimeout: 120_000,
    metricsOmitSecretLabels: false,
    kubeconfig: undefined,
    context: undefined,
    embedded: undefined,
    embeddedPort: 0,
    leaderElect: false,
    workers: 8,
    version: false,
    help: false,
  });
  expect([given.size, warnings]).toEqual([0, []]);
});

describe("pflag semantics", () => {
  test("--flag=value and --flag value", () => {
    expect(parse("--key-size=3072").keySize).toBe(3072);
    expect(parse("--key-size", "3072").keySize).toBe(3072);
    expect(parse("--my-cn=a=b").myCn).toBe("a=b");
    expect(parse("--kubeclient-qps", "-1").kubeclientQps).toBe(-1);
  });
  test("a switch takes its value behind = only, and can be turned off", () => {
    expect(parse("--update-status=false", "--log-info-stdout=F").updateStatus).toBe(false);
    expect(parse("--log-info-stdout=F").logInfoStdout).toBe(false);
    expect(parse("--skip-recreate", "false").skipRecreate).toBe(true);
  });
  test("the last of several wins; arguments that are no flags and everything behind -- are ignored", () => {
    expect(parse("--workers=2", "word", "--workers=3", "--", "--workers=4").workers).toBe(3);
  });
  test("-h is --help", () => expect(parse("-h").help).toBe(true));
  test("--embedded alone is in memory, with a value in a directory", () => {
    expect(parse("--embedded").embedded).toEqual({});
    expect(parse("--embedded=/data").embedded).toEqual({ directory: "/data" });
  });
});

describe("environment", () => {
  const env = {
    SEALED_SECRETS_KEY_TTL: "1h30m",
    SEALED_SECRETS_UPDATE_STATUS: "false",
    SEALED_SECRETS_MY_CN: "",
  };
  test("sets what the command line leaves out", () => {
    const flags = parseControllerFlags([], env);
    expect([flags.keyTtl, flags.updateStatus, flags.myCn]).toEqual([1.5 * hour, false, ""]);
    expect([...flags.given].sort()).toEqual(["key-ttl", "update-status"]);
  });
  test("the command line wins", () => {
    expect(parseControllerFlags(["--key-ttl=5s"], env).keyTtl).toBe(5000);
  });
  test("a mistake names the variable", () => {
    expect(problems([], { SEALED_SECRETS_KEY_SIZE: "big" })[0]).toMatch(
      /^SEALED_SECRETS_KEY_SIZE: "big" is not/,
    );
  });
});

test("the deprecated name still works, and says so", () => {
  const flags = parse("--rotate-period", "24h");
  expect(flags.keyRenewPeriod).toBe(24 * hour);
  expect(flags.warnings).toEqual(["--rotate-period is deprecated, use --key-renew-period"]);
  expect(parseControllerFlags([], { SEALED_SECRETS_ROTATE_PERIOD: "0" }).keyRenewPeriod).toBe(0);
});

test.each([
  ["0", 0],
  ["720h", 720 * hour],
  ["1h30m", 1.5 * hour],
  ["1.5h", 1.5 * hour],
  ["90s", 90_000],
  ["250ms", 250],
  ["1h1m1s1ms", 3_661_001],
])("duration %s", (text, ms) => expect(parse(`--key-renew-period=${text}`).keyRenewPeriod).toBe(ms));

test.each([
  ["Mon, 02 Jan 2006 15:04:05 -0700", "2006-01-02T22:04:05.000Z"],
  ["Thu, 29 Feb 2024 00:00:00 +0000", "2024-02-29T00:00:00.000Z"],
])("cut-off %s", (text, iso) => expect(parse("--key-cutoff-time", text).keyCutoffTime?.toJSON()).toBe(iso));

test("labels, annotations, lists and addresses", () => {
  const flags = parse(
    "--privatekey-labels=team=a,app.kubernetes.io/part-of=b,empty=",
    "--privatekey-annotations=note=a=b",
    "--additional-namespaces=a, b,,a",
    "--listen-addr=127.0.0.1:0",
    "--listen-metrics-addr=[::1]:9",
  );
  expect(flags.privatekeyLabels).toEqual({ team: "a", "app.kubernetes.io/part-of": "b", empty: "" });
  expect(flags.privatekeyAnnotations).toEqual({ note: "a=b" });
  expect(flags.additionalNamespaces).toEqual(["a", "b"]);
  expect([flags.listenAddr, flags.listenMetricsAddr]).toEqual([
    { host: "127.0.0.1", port: 0 },
    { host: "::1", port: 9 },
  ]);
});

test.each([
  "--key-order-priority=Newest",
  "--key-cutoff-time=2026-01-01T00:00:00Z",
  "--key-cutoff-time=Mon, 02 Jan 2006 15:04:05 MST",
  "--key-cutoff-time=Mon, 30 Feb 2006 15:04:05 +0000",
  "--key-cutoff-time=Mon, 02 Foo 2006 15:04:05 +0000",
  "--privatekey-annotations=a=b,c",
  "--privatekey-labels=a=b c",
  "--privatekey-labels=-a=b",
  "--key-prefix=Upper",
  "--key-prefix=",
  `--key-prefix=${"a".repeat(246)}`,
  "--key-size=1024",
  "--key-size=4096x",
  "--key-ttl=0",
  "--key-ttl=30",
  "--key-ttl=3d",
  "--key-renew-period=-1h",
  "--rate-limit=0",
  "--log-level=LOUD",
  "--log-format=xml",
  "--listen-addr=8080",
  "--listen-addr=:99999",
  "--update-status=maybe",
  "--kubeclient-qps=fast",
  "--workers=0",
  "--no-such-flag",
  "--constructor=1",
  "-x",
])("refused at the start: %s", (argument) => {
  const found = problems([argument]);
  expect(found).toHaveLength(1);
  expect(found[0]).toContain(argument.split("=")[0]);
});

test("all mistakes are told at once, one line each", () => {
  expect(problems(["--key-size=1", "--workers=x", "--nope", "--key-ttl"])).toEqual([
    "--nope: unknown flag",
    "--key-ttl: needs a value",
    '--key-size: "1" is not a whole number from 2048 to 16384',
    '--workers: "x" is not a whole number from 1 to 1000',
  ]);
  expect(problems(["--embedded", "--kubeconfig=x"])).toHaveLength(1);
});

test("the help names every flag", () => {
  for (const name of ["key-renew-period", "listen-metrics-addr", "embedded", "workers"]) {
    expect(controllerUsage()).toContain(`--${name} `);
  }
  expect(controllerUsage()).not.toContain("undefined");
});
