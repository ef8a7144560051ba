/** How a flag's text becomes a value. An `array` and a `list` may be given several times; a `list` also splits at commas. */
export type FlagKind = "string" | "boolean" | "list" | "array";

/** One flag. */
export interface Flag {
  kind: FlagKind;
  /** One letter. */
  short?: string;
  /** One line for the help. */
  usage: string;
  /** Where the help names one; `kubeseal` prints it. */
  default?: string;
  /** Ours alone: not part of kubeseal's command line, and without a preset in the environment. */
  own?: true;
}

/** Every flag of the verbs for SealedSecrets. Names, letters and presets are kubeseal's, but for the rows marked `own`. */
export const flags = {
  "secret-file": { kind: "array", short: "f", usage: "read manifests from this file instead of stdin" },
  "sealed-secret-file": {
    kind: "string",
    short: "w",
    usage: "write to this file instead of stdout, all or nothing",
  },
  format: { kind: "string", short: "o", default: "json", usage: "output format: json or yaml" },
  cert: {
    kind: "string",
    usage: "sealing certificate: a file, a file:// or an http(s):// URL; default: ask the cluster",
  },
  scope: {
    kind: "string",
    default: "strict",
    usage: "where it may be opened: strict, namespace-wide or cluster-wide",
  },
  name: { kind: "string", usage: "name of the Secret, in place of metadata.name" },
  namespace: {
    kind: "string",
    short: "n",
    usage: "namespace of the Secret; default: its own, then the kubeconfig's",
  },
  "allow-empty-data": { kind: "boolean", usage: "accept a Secret without entries" },
  raw: { kind: "boolean", usage: "seal one bare value and print it for spec.encryptedData" },
  "from-file": { kind: "list", usage: "with --raw: file that holds the value, as [key=]path" },
  "merge-into": { kind: "string", usage: "seal the entries into this SealedSecret file, in place" },
  "fetch-cert": { kind: "boolean", usage: "print the sealing certificate" },
  validate: { kind: "boolean", usage: "ask the controller whether it can open the SealedSecret" },
  "re-encrypt": { kind: "boolean", usage: "let the controller encrypt the SealedSecret to its newest key" },
  rotate: { kind: "boolean", usage: "former name of --re-encrypt" },
  "recovery-unseal": { kind: "boolean", usage: "open the SealedSecret with --recovery-private-key, offline" },
  "recovery-private-key": { kind: "list", usage: "private keys: PEM files, or key Secrets as YAML or JSON" },
  "controller-name": {
    kind: "string",
    default: "sealed-secrets-controller",
    usage: "name of the controller's Service",
  },
  "controller-namespace": {
    kind: "string",
    default: "kube-system",
    usage: "namespace of the controller's Service",
  },
  kubeconfig: {
    kind: "string",
    usage: "kubeconfig file; default: KUBECONFIG, then ~/.kube/config, then the pod's account",
  },
  context: { kind: "string", usage: "context of the kubeconfig" },
  cluster: { kind: "string", usage: "cluster of the kubeconfig" },
  user: { kind: "string", usage: "user of the kubeconfig" },
  server: { kind: "string", usage: "URL of the Kubernetes API server" },
  token: { kind: "string", usage: "bearer token for the API server" },
  username: { kind: "string", usage: "user name for the API server" },
  password: { kind: "string", usage: "password for the API server" },
  "client-certificate": { kind: "string", usage: "client certificate file for TLS" },
  "client-key": { kind: "string", usage: "client key file for TLS" },
  "certificate-authority": { kind: "string", usage: "certificate authority file for the API server" },
  "tls-server-name": { kind: "string", usage: "name to expect in the API server's certificate" },
  "insecure-skip-tls-verify": { kind: "boolean", usage: "do not check the API server's certificate" },
  "proxy-url": { kind: "string", usage: "proxy on the way to the API server" },
  "request-timeout": {
    kind: "string",
    default: "0",
    usage: "longest wait for one answer, such as 5s or 2m; 0 waits on",
  },
  "disable-compression": { kind: "boolean", usage: "accepted; answers are never compressed" },
  as: { kind: "string", usage: "user to impersonate" },
  "as-uid": { kind: "string", usage: "UID to impersonate" },
  "as-group": { kind: "array", usage: "group to impersonate" },
  version: { kind: "boolean", usage: "print the version" },
  help: { kind: "boolean", short: "h", usage: "print this help" },
  "private-key": {
    own: true,
    kind: "list",
    usage: "private keys: PEM files, or key Secrets as YAML or JSON",
  },
  pin: { own: true, kind: "list", usage: "accept only the certificate with this SHA256:... fingerprint" },
  "pin-file": {
    own: true,
    kind: "string",
    usage: "accept only certificates listed in this file; default: the nearest .sealwright/pin",
  },
  "save-pin": { own: true, kind: "boolean", usage: "add the fingerprint to the pin file" },
  fingerprint: { own: true, kind: "boolean", usage: "print the fingerprint alone" },
  "allow-exposed-values": {
    own: true,
    kind: "boolean",
    usage: "seal even where an annotation or a label repeats a value in plain text",
  },
  "ignore-template-data": {
    own: true,
    kind: "boolean",
    usage: "open the items though spec.template.data would be rendered too",
  },
  all: { own: true, kind: "boolean", usage: "also encrypt anew what is under the newest key already" },
} as const satisfies Record<string, Flag>;

/** A flag's name, as typed. */
export type FlagName = keyof typeof flags;

type Camel<Name extends string> = Name extends `${infer First}-${infer Rest}`
  ? `${First}${Capitalize<Camel<Rest>>}`
  : Name;
type ValueOf<Kind extends FlagKind> = Kind extends "boolean"
  ? boolean
  : Kind extends "string"
    ? string
    : string[];

/** What a command line gave, by the flags' names in camel case. A flag that is absent or empty is `undefined`. */
export type Flags = {
  [Name in FlagName as Camel<Name>]?: ValueOf<(typeof flags)[Name]["kind"]> | undefined;
};

/** The flags that say how the controller is reached. */
export const clusterFlags = [
  "controller-name",
  "controller-namespace",
  "kubeconfig",
  "context",
  "cluster",
  "user",
  "server",
  "token",
  "username",
  "password",
  "client-certificate",
  "client-key",
  "certificate-authority",
  "tls-server-name",
  "insecure-skip-tls-verify",
  "proxy-url",
  "request-timeout",
  "as",
  "as-uid",
  "as-group",
] as const satisfies readonly FlagName[];

/** The flags that say which certificate to seal with. */
export const certificateFlags = ["cert", "pin", "pin-file"] as const satisfies readonly FlagName[];

/** The flag's name as a key of {@link Flags}. */
export function flagKey(name: FlagName): keyof Flags {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase()) as keyof Flags;
}

/** Reads a flag's text. @returns `undefined` where the text is no value of that kind */
export function flagValue(kind: FlagKind, text: string): string | boolean | string[] | undefined {
  if (kind === "string") return text;
  if (kind === "array") return [text];
  if (kind === "list") return text.split(",");
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  return /^(0|f|F|FALSE|false|False)$/.test(text) ? false : undefined;
}

/** The presets of an environment: `SEALED_SECRETS_CERT` for `--cert`. What does not parse is passed over. */
export function presets(environment: Readonly<Record<string, string | undefined>>): Flags {
  const found = (Object.keys(flags) as FlagName[]).flatMap((name) => {
    const flag: Flag = flags[name];
    const text = environment[`SEALED_SECRETS_${name.toUpperCase().replaceAll("-", "_")}`];
    const value = text === undefined || text === "" || flag.own ? undefined : flagValue(flag.kind, text);
    return value === undefined ? [] : [[flagKey(name), value] as const];
  });
  return Object.fromEntries(found);
}
