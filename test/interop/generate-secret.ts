import fc from "fast-check";
import { toJson, toYaml, type JsonObject } from "../../formats/manifest.ts";
import type { Scope } from "../../formats/scope.ts";

/** A generated Secret: its manifest, and what it must become again after it was sealed and opened. */
export interface SecretCase {
  manifest: JsonObject;
  scope: Scope;
  /** The manifest's text, as YAML or JSON. */
  text: string;
  /** What sealing must keep: metadata without live fields, type, immutability, entries in base64. */
  kept: JsonObject;
}

/** Names that YAML 1.1 takes for something else. */
const traps = [
  "y",
  "n",
  "no",
  "on",
  "null",
  "true",
  "0123",
  "1e3",
  "5432",
  "1.5",
  "0x1f",
  "0b1",
  "0o17",
  "2026-01-01",
  "1-2",
  "0.5",
  "08",
];
const dnsLabel = fc.oneof(
  { weight: 4, arbitrary: fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/) },
  { weight: 1, arbitrary: fc.constantFrom(...traps.filter((name) => !name.includes("."))) },
  { weight: 1, arbitrary: fc.stringMatching(/^[a-z0-9]{63}$/) },
);
const subdomain = fc.oneof(
  { weight: 4, arbitrary: dnsLabel },
  { weight: 1, arbitrary: fc.constantFrom(...traps) },
  {
    weight: 1,
    arbitrary: fc.array(dnsLabel, { minLength: 1, maxLength: 3 }).map((labels) => labels.join(".")),
  },
);
const qualifiedName = fc
  .tuple(fc.option(subdomain), fc.stringMatching(/^[A-Za-z0-9]([-_.A-Za-z0-9]{0,20}[A-Za-z0-9])?$/))
  .map(([prefix, name]) => (prefix === null ? name : `${prefix}/${name}`));
const labelValue = fc.oneof(
  fc.constantFrom("", ...traps),
  fc.stringMatching(/^[A-Za-z0-9]([-_.A-Za-z0-9]{0,20}[A-Za-z0-9])?$/),
);
/** Any text of whole code points, controls and noncharacters included. */
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.constantFrom(
    "",
    "true",
    "a: b",
    "# x",
    "- x",
    "{{ .x }}",
    "line\nline\n",
    "\ta\nb",
    " \n",
    "\n",
    "a\n\n  b\n ",
    "\r\n",
    "\t",
    " padded ",
    "<b>&",
    '{"a":1}',
  ),
  fc.constantFrom(
    "\ufeffbom",
    "\u0085\u2028\u2029",
    "é".repeat(300),
    "x".repeat(5000),
    "0O17",
    "0X1F",
    "-0x1f",
    "+1",
    "1_000",
    "1e400",
    ".5",
    "1.",
    "=",
    "<<",
    "~",
    "!x",
    "&x",
    "*x",
    "%",
    "@",
    "`",
    ...traps,
  ),
);

/** Without the characters that YAML writers disagree on: what ours makes of those is held in `test/formats/manifest.test.ts`. */
const annotationText = anyText.filter(
  (text) => !/[\u007f-\u009f\u2028\u2029\p{Noncharacter_Code_Point}]/u.test(text),
);

const entryName = fc.oneof(
  { weight: 5, arbitrary: fc.stringMatching(/^[A-Za-z0-9_-][-._A-Za-z0-9]{0,30}$/) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(".dockerconfigjson", "tls.crt", "__proto__", "constructor", "y", "null", "1"),
  },
  { weight: 1, arbitrary: fc.stringMatching(/^[a-z]{253}$/) },
);
const bytes = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 64 }).map((value) => Buffer.from(value)) },
  { weight: 4, arbitrary: anyText.map((value) => Buffer.from(value)) },
  { weight: 1, arbitrary: fc.constant(Buffer.alloc(0)) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.nat(70_000), fc.nat(255)).map(([size, fill]) => Buffer.alloc(size, fill)),
  },
);

const annotationPrefix = "sealedsecrets.bitnami.com/";
const scopeAnnotations = fc.constantFrom<{ scope: Scope; annotations: Record<string, string> }>(
  { scope: "strict", annotations: {} },
  { scope: "strict", annotations: { [`${annotationPrefix}cluster-wide`]: "TRUE" } },
  { scope: "namespace-wide", annotations: { [`${annotationPrefix}namespace-wide`]: "true" } },
  { scope: "cluster-wide", annotations: { [`${annotationPrefix}cluster-wide`]: "true" } },
  {
    scope: "cluster-wide",
    annotations: {
      [`${annotationPrefix}cluster-wide`]: "true",
      [`${annotationPrefix}namespace-wide`]: "true",
    },
  },
);
const strippedAnnotations = fc.constantFrom(
  {},
  {},
  { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
  { "kubecfg.ksonnet.io/last-applied-configuration": "{}" },
);

/** What a live object carries and a template must not. */
const liveFields = fc.constantFrom<JsonObject>(
  {},
  {},
  { creationTimestamp: null },
  {
    uid: "7f1c0f34-6d40-4a4c-8f5e-0c8f9c9a0c11",
    resourceVersion: "4711",
    generation: 2,
    creationTimestamp: "2026-01-01T00:00:00Z",
    selfLink: "/api/v1/namespaces/a/secrets/b",
    ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: "p", uid: "1" }],
  },
  { deletionTimestamp: "2026-01-01T00:00:00Z", deletionGracePeriodSeconds: 30 },
);
const carriedFields = fc.constantFrom<JsonObject>(
  {},
  {},
  { finalizers: ["example.com/guard"] },
  { generateName: "app-" },
  {
    managedFields: [
      {
        manager: "kubectl",
        operation: "Update",
        apiVersion: "v1",
        time: "2026-01-01T00:00:00Z",
        fieldsType: "FieldsV1",
        fieldsV1: { "f:data": { ".": {} } },
      },
    ],
  },
);

const types = fc.constantFrom(
  undefined,
  "Opaque",
  "kubernetes.io/tls",
  "kubernetes.io/dockerconfigjson",
  "example.com/y",
  "5432",
);

/** Secrets as Kubernetes takes them, in every form that the sealing tools must carry. */
export const secretCase: fc.Arbitrary<SecretCase> = fc
  .record({
    name: subdomain,
    namespace: dnsLabel,
    withNamespace: fc.integer({ min: 0, max: 3 }).map((roll) => roll > 0),
    labels: fc.option(fc.dictionary(qualifiedName, labelValue, { maxKeys: 4, noNullPrototype: true })),
    annotations: fc.dictionary(qualifiedName, annotationText, { maxKeys: 4, noNullPrototype: true }),
    scoped: scopeAnnotations,
    stripped: strippedAnnotations,
    live: liveFields,
    carried: carriedFields,
    type: types,
    immutable: fc.constantFrom(undefined, undefined, true, false),
    data: fc.dictionary(entryName, bytes, { maxKeys: 4, noNullPrototype: true }),
    stringData: fc.option(fc.dictionary(entryName, anyText, { maxKeys: 2, noNullPrototype: true }), {
      freq: 3,
    }),
    write: fc.constantFrom(toJson, toYaml),
  })
  .map(caseOf);

function caseOf(parts: {
  name: string;
  namespace: string;
  withNamespace: boolean;
  labels: Record<string, string> | null;
  annotations: Record<string, string>;
  scoped: { scope: Scope; annotations: Record<string, string> };
  stripped: object;
  live: JsonObject;
  carried: JsonObject;
  type: string | undefined;
  immutable: boolean | undefined;
  data: Record<string, Buffer>;
  stringData: Record<string, string> | null;
  write: (object: JsonObject) => string;
}): SecretCase {
  const { scope } = parts.scoped;
  const namespaced = scope !== "cluster-wide" || parts.withNamespace;
  const annotations = { ...parts.annotations, ...parts.scoped.annotations };
  const common = {
    name: parts.name,
    ...(namespaced ? { namespace: parts.namespace } : {}),
    ...parts.carried,
  };
  const labels = parts.labels === null ? {} : { labels: parts.labels };
  const spec = { type: parts.type, immutable: parts.immutable };
  const data = Object.entries(parts.data).map(([name, value]) => [name, value.toString("base64")] as const);
  const stringData = Object.entries(parts.stringData ?? {});
  const manifest: JsonObject = JSON.parse(
    JSON.stringify({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { ...common, ...parts.live, ...labels, annotations: { ...annotations, ...parts.stripped } },
      ...spec,
      data: Object.fromEntries(data),
      ...(parts.stringData === null ? {} : { stringData: Object.fromEntries(stringData) }),
    }),
  ) as JsonObject;
  const encoded = stringData.map(([name, text]) => [name, Buffer.from(text).toString("base64")] as const);
  const kept = meaningOf({
    metadata: { ...common, ...labels, annotations },
    ...spec,
    data: Object.fromEntries([...data, ...encoded]),
  });
  return { manifest, scope, text: parts.write(manifest), kept };
}

/** An object without the empty maps, nulls and absent fields that one encoder writes and the other leaves out. */
export function meaningOf(object: JsonObject): JsonObject {
  const entries = Object.entries(object).map(([key, value]) => [key, meaningOfValue(key, value)] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

function meaningOfValue(key: string, value: unknown): unknown {
  if (value === null) return undefined;
  if (typeof value !== "object" || Array.isArray(value) || key === "data" || key === "encryptedData")
    return value;
  const inner = meaningOf(value as JsonObject);
  return Object.keys(inner).length === 0 ? undefined : inner;
}
