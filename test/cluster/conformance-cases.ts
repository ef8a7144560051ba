import type { Call } from "../controller/embedded/client.ts";

/** One request of the table. */
export interface Case extends Call {
  name: string;
  /** What is not compared: wording that belongs to a library (JSON parsers, JSON patch), metadata of what is not stored. */
  free?: "message" | "metadata";
}

const patchTypes = {
  merge: "application/merge-patch+json",
  json: "application/json-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
};
const b64 = (text: string): string => Buffer.from(text).toString("base64");
const secrets = "/api/v1/namespaces/conf/secrets";
const widgets = "/apis/test.sealwright.dev/v1/namespaces/conf/widgets";
const secret = (name: string, more: object = {}): object => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name },
  ...more,
});
const widget = (name: string, more: object = {}): object => ({
  apiVersion: "test.sealwright.dev/v1",
  kind: "Widget",
  metadata: { name },
  ...more,
});

/** A definition that uses what the embedded API supports of structural schemas. */
export const widgetDefinition = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.test.sealwright.dev" },
  spec: {
    group: "test.sealwright.dev",
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget", shortNames: ["wd"], categories: ["all"] },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: [
          { name: "Size", type: "integer", jsonPath: ".spec.size" },
          { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
          { name: "First", type: "string", jsonPath: ".spec.list[0]", priority: 1 },
          { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
        ],
        schema: {
          openAPIV3Schema: {
            type: "object",
            required: ["spec"],
            properties: {
              spec: {
                type: "object",
                required: ["size"],
                properties: {
                  size: { type: "integer", minimum: 1, maximum: 10 },
                  color: { type: "string", enum: ["red", "green"], default: "red" },
                  name: { type: "string", pattern: "^[a-z]+$", maxLength: 5 },
                  labels: { type: "object", additionalProperties: { type: "string" } },
                  anything: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
                  list: { type: "array", items: { type: "string" } },
                  set: { type: "array", "x-kubernetes-list-type": "set", items: { type: "string" } },
                  entries: {
                    type: "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["key"],
                    items: {
                      type: "object",
                      required: ["key"],
                      properties: { key: { type: "string" }, value: { type: "string" } },
                    },
                  },
                  nothing: { type: "string", nullable: true },
                },
              },
              status: {
                type: "object",
                properties: {
                  conditions: {
                    type: "array",
                    items: {
                      type: "object",
                      properties: { type: { type: "string" }, status: { type: "string" } },
                    },
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
};

const namespaces: Case[] = [
  { name: "namespace", method: "POST", path: "/api/v1/namespaces", body: { metadata: { name: "conf" } } },
  {
    name: "namespace again",
    method: "POST",
    path: "/api/v1/namespaces",
    body: { metadata: { name: "conf" } },
  },
  {
    name: "namespace with a bad name",
    method: "POST",
    path: "/api/v1/namespaces",
    body: { metadata: { name: "A_b" } },
  },
  { name: "get namespace", path: "/api/v1/namespaces/conf" },
  { name: "delete default", method: "DELETE", path: "/api/v1/namespaces/default" },
];

const creations: Case[] = [
  {
    name: "secret",
    method: "POST",
    path: secrets,
    body: secret("a", { data: { x: b64("y") }, stringData: { s: "t" } }),
  },
  { name: "secret again", method: "POST", path: secrets, body: secret("a") },
  { name: "empty secret", method: "POST", path: secrets, body: secret("empty") },
  { name: "no namespace", method: "POST", path: "/api/v1/namespaces/none/secrets", body: secret("a") },
  {
    name: "other namespace",
    method: "POST",
    path: secrets,
    body: secret("n", { metadata: { name: "n", namespace: "b" } }),
  },
  { name: "no name", method: "POST", path: secrets, body: { metadata: {} } },
  { name: "upper case name", method: "POST", path: secrets, body: secret("Upper") },
  { name: "bad data key", method: "POST", path: secrets, body: secret("k", { data: { "a b": "eA==" } }) },
  { name: "data key of dots", method: "POST", path: secrets, body: secret("k", { data: { "..": "eA==" } }) },
  {
    name: "__proto__ and constructor are keys",
    method: "POST",
    path: secrets,
    body: '{"metadata":{"name":"proto"},"data":{"__proto__":"eA==","constructor":"eQ=="}}',
  },
  { name: "bad base64", method: "POST", path: secrets, body: secret("k", { data: { a: "abc" } }) },
  { name: "bad base64 character", method: "POST", path: secrets, body: secret("k", { data: { a: "ab!c" } }) },
  {
    name: "number in data",
    method: "POST",
    path: secrets,
    body: secret("k", { data: { a: 1 } }),
    free: "message",
  },
  {
    name: "number in labels",
    method: "POST",
    path: secrets,
    body: secret("k", { metadata: { name: "k", labels: { a: 1 } } }),
    free: "message",
  },
  {
    name: "bad label value",
    method: "POST",
    path: secrets,
    body: secret("k", { metadata: { name: "k", labels: { a: "b c" } } }),
  },
  {
    name: "bad label key",
    method: "POST",
    path: secrets,
    body: secret("k", { metadata: { name: "k", labels: { "a/b/c": "b" } } }),
    free: "message",
  },
  {
    name: "bad annotation key",
    method: "POST",
    path: secrets,
    body: secret("k", { metadata: { name: "k", annotations: { "a b": "b" } } }),
  },
  {
    name: "too large",
    method: "POST",
    path: secrets,
    body: secret("big", { data: { a: Buffer.alloc(1_048_577).toString("base64") } }),
  },
  {
    name: "as large as may be",
    method: "POST",
    path: `${secrets}?dryRun=All`,
    body: secret("big", { data: { a: Buffer.alloc(1_048_576).toString("base64") } }),
  },
  {
    name: "tls without keys",
    method: "POST",
    path: secrets,
    body: secret("t", { type: "kubernetes.io/tls" }),
  },
  {
    name: "basic-auth without keys",
    method: "POST",
    path: secrets,
    body: secret("t", { type: "kubernetes.io/basic-auth" }),
  },
  {
    name: "ssh-auth without key",
    method: "POST",
    path: secrets,
    body: secret("t", { type: "kubernetes.io/ssh-auth" }),
  },
  {
    name: "dockerconfigjson without key",
    method: "POST",
    path: secrets,
    body: secret("t", { type: "kubernetes.io/dockerconfigjson" }),
  },
  {
    name: "dockerconfigjson that is no JSON",
    method: "POST",
    path: secrets,
    body: secret("t", { type: "kubernetes.io/dockerconfigjson", stringData: { ".dockerconfigjson": "{" } }),
    free: "message",
  },
  {
    name: "basic-auth",
    method: "POST",
    path: secrets,
    body: secret("basic", { type: "kubernetes.io/basic-auth", stringData: { username: "u" } }),
  },
  {
    name: "unknown field, strict",
    method: "POST",
    path: `${secrets}?fieldValidation=Strict`,
    body: secret("u", { foo: 1 }),
  },
  {
    name: "unknown field, ignored",
    method: "POST",
    path: `${secrets}?fieldValidation=Ignore`,
    body: secret("u", { foo: 1, metadata: { name: "u", bar: 2 } }),
  },
  {
    name: "wrong kind",
    method: "POST",
    path: secrets,
    body: { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "w" } },
    free: "message",
  },
  {
    name: "wrong version",
    method: "POST",
    path: secrets,
    body: { apiVersion: "v2", kind: "Secret", metadata: { name: "w" } },
    free: "message",
  },
  { name: "not JSON", method: "POST", path: secrets, body: "{", free: "message" },
  {
    name: "resourceVersion on create",
    method: "POST",
    path: secrets,
    body: secret("r", { metadata: { name: "r", resourceVersion: "7" } }),
  },
  {
    name: "YAML body",
    method: "POST",
    path: secrets,
    body: "metadata: {name: yaml}\nstringData: {a: b}\n",
    type: "application/yaml",
  },
  { name: "wrong media type", method: "POST", path: secrets, body: "x", type: "text/plain", free: "message" },
  {
    name: "finalizer that is not qualified",
    method: "POST",
    path: secrets,
    body: secret("f", { metadata: { name: "f", finalizers: ["odd"] } }),
    free: "message",
  },
  {
    name: "owner without uid",
    method: "POST",
    path: secrets,
    body: secret("o", {
      metadata: { name: "o", ownerReferences: [{ apiVersion: "v1", kind: "Secret", name: "a" }] },
    }),
  },
  { name: "dry run", method: "POST", path: `${secrets}?dryRun=All`, body: secret("dry") },
  { name: "nothing was written", path: `${secrets}/dry` },
];

const reads: Case[] = [
  { name: "get", path: `${secrets}/a` },
  { name: "get, absent", path: `${secrets}/absent` },
  { name: "list", path: secrets },
  { name: "list by labels", path: `${secrets}?labelSelector=${encodeURIComponent("a in (b),!c,d!=e")}` },
  { name: "list by name", path: `${secrets}?fieldSelector=metadata.name=a` },
  { name: "list by type", path: `${secrets}?fieldSelector=type=kubernetes.io/basic-auth` },
  { name: "list by another field", path: `${secrets}?fieldSelector=foo=a`, free: "message" },
  {
    name: "list by a broken selector",
    path: `${secrets}?labelSelector=${encodeURIComponent("a in (")}`,
    free: "message",
  },
  {
    name: "list from the future",
    path: `${secrets}?resourceVersion=999999999&resourceVersionMatch=NotOlderThan`,
    free: "message",
  },
  {
    name: "list, metadata only",
    path: secrets,
    headers: { Accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io" },
  },
  {
    name: "get, metadata only",
    path: `${secrets}/a`,
    headers: { Accept: "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io" },
  },
  { name: "unknown resource", path: "/api/v1/namespaces/conf/nothings" },
  { name: "unknown group", path: "/apis/none.example.com/v1/things" },
  { name: "unknown subresource", path: `${secrets}/a/status` },
  { name: "post to an object", method: "POST", path: `${secrets}/a`, body: {} },
  {
    name: "create without a namespace",
    method: "POST",
    path: "/api/v1/secrets",
    body: secret("x"),
    free: "message",
  },
];

const updates: Case[] = [
  { name: "put", method: "PUT", path: `${secrets}/a`, body: secret("a", { data: { x: b64("z") } }) },
  {
    name: "put, nothing new",
    method: "PUT",
    path: `${secrets}/a`,
    body: secret("a", { data: { x: b64("z") } }),
  },
  {
    name: "put, stale",
    method: "PUT",
    path: `${secrets}/a`,
    body: secret("a", { metadata: { name: "a", resourceVersion: "1" } }),
  },
  {
    name: "put, other uid",
    method: "PUT",
    path: `${secrets}/a`,
    body: secret("a", { metadata: { name: "a", uid: "other" } }),
    free: "message",
  },
  { name: "put, other name", method: "PUT", path: `${secrets}/a`, body: secret("b") },
  { name: "put, absent", method: "PUT", path: `${secrets}/absent`, body: secret("absent") },
  { name: "put, other type", method: "PUT", path: `${secrets}/a`, body: secret("a", { type: "other" }) },
  {
    name: "merge patch",
    method: "PATCH",
    path: `${secrets}/a`,
    type: patchTypes.merge,
    body: { data: { x: null, y: "eQ==" }, metadata: { labels: { l: "m" } } },
  },
  {
    name: "strategic patch",
    method: "PATCH",
    path: `${secrets}/a`,
    type: patchTypes.strategic,
    body: {
      stringData: { z: "1" },
      metadata: { labels: { l: null, n: "o" }, finalizers: ["x.example.com/f"] },
    },
  },
  {
    name: "strategic patch adds a finalizer",
    method: "PATCH",
    path: `${secrets}/a`,
    type: patchTypes.strategic,
    body: { metadata: { finalizers: ["x.example.com/g"] } },
  },
  {
    name: "json patch",
    method: "PATCH",
    path: `${secrets}/a`,
    type: patchTypes.json,
    body: [
      { op: "test", path: "/data/y", value: "eQ==" },
      { op: "add", path: "/metadata/annotations", value: { "a/b": "c" } },
      { op: "remove", path: "/metadata/finalizers" },
    ],
  },
  {
    name: "json patch, test fails",
    method: "PATCH",
    path: `${secrets}/a`,
    type: patchTypes.json,
    body: [{ op: "test", path: "/data/y", value: "eA==" }],
    free: "message",
  },
  {
    name: "json patch, no such path",
    method: "PATCH",
    path: `${secrets}/a`,
    type: patchTypes.json,
    body: [{ op: "remove", path: "/data/none" }],
    free: "message",
  },
  {
    name: "patch, stale",
    method: "PATCH",
    path: `${secrets}/a`,
    type: patchTypes.merge,
    body: { metadata: { resourceVersion: "1" } },
  },
  { name: "patch, absent", method: "PATCH", path: `${secrets}/absent`, type: patchTypes.merge, body: {} },
  {
    name: "patch of unknown type",
    method: "PATCH",
    path: `${secrets}/a`,
    type: "text/plain",
    body: "x",
    free: "message",
  },
  {
    name: "make immutable",
    method: "PATCH",
    path: `${secrets}/empty`,
    type: patchTypes.merge,
    body: { immutable: true },
  },
  {
    name: "change immutable data",
    method: "PATCH",
    path: `${secrets}/empty`,
    type: patchTypes.merge,
    body: { data: { a: "eA==" } },
  },
  {
    name: "unset immutable",
    method: "PATCH",
    path: `${secrets}/empty`,
    type: patchTypes.merge,
    body: { immutable: null },
  },
  {
    name: "label an immutable secret",
    method: "PATCH",
    path: `${secrets}/empty`,
    type: patchTypes.merge,
    body: { metadata: { labels: { a: "b" } } },
  },
];

const apply = (manager: string, more = ""): string => `${secrets}/applied?fieldManager=${manager}${more}`;
const applies: Case[] = [
  {
    name: "apply creates",
    method: "PATCH",
    path: apply("one"),
    type: patchTypes.apply,
    body: secret("applied", { data: { a: "eA==", b: "eA==" } }),
  },
  {
    name: "apply again",
    method: "PATCH",
    path: apply("one"),
    type: patchTypes.apply,
    body: secret("applied", { data: { a: "eA==", b: "eA==" } }),
  },
  {
    name: "another applies the same value",
    method: "PATCH",
    path: apply("two"),
    type: patchTypes.apply,
    body: secret("applied", { data: { a: "eA==" } }),
  },
  {
    name: "another applies another value",
    method: "PATCH",
    path: apply("two"),
    type: patchTypes.apply,
    body: secret("applied", { data: { a: "eQ==" } }),
  },
  {
    name: "by force",
    method: "PATCH",
    path: apply("two", "&force=true"),
    type: patchTypes.apply,
    body: secret("applied", { data: { a: "eQ==" } }),
  },
  {
    name: "what is not applied any more goes",
    method: "PATCH",
    path: apply("one"),
    type: patchTypes.apply,
    body: secret("applied", { metadata: { name: "applied", labels: { c: "d" } } }),
  },
  {
    name: "an update takes over",
    method: "PATCH",
    path: `${secrets}/applied`,
    type: patchTypes.merge,
    body: { data: { a: "eg==" } },
  },
  {
    name: "apply with managedFields",
    method: "PATCH",
    path: apply("one"),
    type: patchTypes.apply,
    body: secret("applied", { metadata: { name: "applied", managedFields: [{ manager: "x" }] } }),
    free: "message",
  },
  {
    name: "apply without a manager",
    method: "PATCH",
    path: `${secrets}/applied`,
    type: patchTypes.apply,
    body: secret("applied"),
    free: "message",
  },
];

const deletions: Case[] = [
  {
    name: "delete, other uid",
    method: "DELETE",
    path: `${secrets}/u`,
    body: { preconditions: { uid: "other" } },
    free: "message",
  },
  { name: "delete", method: "DELETE", path: `${secrets}/u` },
  { name: "delete again", method: "DELETE", path: `${secrets}/u` },
  {
    name: "finalizer",
    method: "PATCH",
    path: `${secrets}/a`,
    type: patchTypes.merge,
    body: { metadata: { finalizers: ["x.example.com/f"] } },
  },
  { name: "delete with a finalizer", method: "DELETE", path: `${secrets}/a` },
  {
    name: "another finalizer while deleting",
    method: "PATCH",
    path: `${secrets}/a`,
    type: patchTypes.merge,
    body: { metadata: { finalizers: ["x.example.com/f", "x.example.com/g"] } },
    free: "message",
  },
  {
    name: "the last finalizer goes",
    method: "PATCH",
    path: `${secrets}/a`,
    type: patchTypes.merge,
    body: { metadata: { finalizers: null } },
  },
  { name: "and so does the object", path: `${secrets}/a` },
  {
    name: "delete a collection, nothing written",
    method: "DELETE",
    path: `${secrets}?labelSelector=no=such`,
  },
];

const custom: Case[] = [
  {
    name: "definition without a schema",
    method: "POST",
    path: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    body: {
      metadata: { name: "x.y.z" },
      spec: { group: "y.z", scope: "Namespaced", names: { plural: "x", kind: "X" }, versions: [] },
    },
    free: "message",
  },
  {
    name: "widget",
    method: "POST",
    path: widgets,
    body: widget("w", {
      spec: { size: 1, extra: true, anything: { deep: { er: 1 } }, labels: { a: "b" } },
      status: { conditions: [] },
    }),
  },
  {
    name: "widget, strict",
    method: "POST",
    path: `${widgets}?fieldValidation=Strict`,
    body: widget("s", { spec: { size: 1, extra: true } }),
  },
  { name: "widget without spec", method: "POST", path: widgets, body: widget("s") },
  { name: "widget without size", method: "POST", path: widgets, body: widget("s", { spec: {} }) },
  { name: "widget of wrong type", method: "POST", path: widgets, body: widget("s", { spec: { size: "1" } }) },
  { name: "widget out of range", method: "POST", path: widgets, body: widget("s", { spec: { size: 11 } }) },
  {
    name: "widget of another color",
    method: "POST",
    path: widgets,
    body: widget("s", { spec: { size: 1, color: "blue" } }),
  },
  {
    name: "widget with a bad name",
    method: "POST",
    path: widgets,
    body: widget("s", { spec: { size: 1, name: "A" } }),
  },
  {
    name: "widget with a long name",
    method: "POST",
    path: widgets,
    body: widget("s", { spec: { size: 1, name: "abcdef" } }),
  },
  {
    name: "widget with null",
    method: "POST",
    path: widgets,
    body: widget("s", { spec: { size: 1, nothing: null, name: null } }),
    free: "message",
  },
  {
    name: "put without resourceVersion",
    method: "PUT",
    path: `${widgets}/w`,
    body: widget("w", { spec: { size: 2 } }),
    free: "message",
  },
  {
    name: "spec counts as a generation",
    method: "PATCH",
    path: `${widgets}/w`,
    type: patchTypes.merge,
    body: { spec: { size: 3 } },
  },
  {
    name: "labels do not",
    method: "PATCH",
    path: `${widgets}/w`,
    type: patchTypes.merge,
    body: { metadata: { labels: { a: "b" } } },
  },
  {
    name: "status is not written with the rest",
    method: "PATCH",
    path: `${widgets}/w`,
    type: patchTypes.merge,
    body: { status: { conditions: [{ type: "Ready", status: "True" }] } },
  },
  {
    name: "status",
    method: "PATCH",
    path: `${widgets}/w/status`,
    type: patchTypes.merge,
    body: { spec: { size: 9 }, status: { conditions: [{ type: "Ready", status: "True" }] } },
  },
  { name: "get status", path: `${widgets}/w/status` },
  { name: "strategic patch", method: "PATCH", path: `${widgets}/w`, type: patchTypes.strategic, body: {} },
  {
    name: "apply lists",
    method: "PATCH",
    path: `${widgets}/l?fieldManager=one`,
    type: patchTypes.apply,
    body: widget("l", { spec: { size: 1, set: ["a"], entries: [{ key: "k", value: "v" }], list: ["x"] } }),
  },
  {
    name: "apply more",
    method: "PATCH",
    path: `${widgets}/l?fieldManager=two`,
    type: patchTypes.apply,
    body: widget("l", { spec: { size: 1, set: ["b"], entries: [{ key: "l", value: "w" }] } }),
  },
  {
    name: "apply another value of an entry",
    method: "PATCH",
    path: `${widgets}/l?fieldManager=two`,
    type: patchTypes.apply,
    body: widget("l", { spec: { size: 1, entries: [{ key: "k", value: "w" }] } }),
  },
  {
    name: "apply less",
    method: "PATCH",
    path: `${widgets}/l?fieldManager=one`,
    type: patchTypes.apply,
    body: widget("l", { spec: { size: 1 } }),
  },
  { name: "list", path: widgets },
  { name: "table", path: widgets, headers: { Accept: "application/json;as=Table;v=v1;g=meta.k8s.io" } },
  { name: "discovery", path: "/apis/test.sealwright.dev/v1" },
  { name: "group", path: "/apis/test.sealwright.dev" },
];

const others: Case[] = [
  {
    name: "configmap",
    method: "POST",
    path: "/api/v1/namespaces/conf/configmaps",
    body: { metadata: { name: "c" }, data: { a: "b" } },
  },
  {
    name: "lease",
    method: "POST",
    path: "/apis/coordination.k8s.io/v1/namespaces/conf/leases",
    body: {
      metadata: { name: "l" },
      spec: { holderIdentity: "me", leaseDurationSeconds: 15, renewTime: "2026-01-01T00:00:00.000000Z" },
    },
  },
  {
    name: "lease of no duration",
    method: "POST",
    path: "/apis/coordination.k8s.io/v1/namespaces/conf/leases",
    body: { metadata: { name: "m" }, spec: { holderIdentity: "me", leaseDurationSeconds: 0 } },
    free: "message",
  },
  {
    name: "event",
    method: "POST",
    path: "/api/v1/namespaces/conf/events",
    body: {
      metadata: { name: "e" },
      involvedObject: { kind: "Secret", namespace: "conf", name: "a" },
      reason: "R",
      message: "m",
      type: "Normal",
      source: { component: "c" },
      firstTimestamp: "2026-01-01T00:00:00Z",
      lastTimestamp: "2026-01-01T00:00:00Z",
      count: 1,
    },
  },
  {
    name: "event of another namespace",
    method: "POST",
    path: "/api/v1/namespaces/conf/events",
    body: { metadata: { name: "f" }, involvedObject: { kind: "Secret", namespace: "other", name: "a" } },
    free: "message",
  },
  { name: "event in its own group", path: "/apis/events.k8s.io/v1/namespaces/conf/events/e" },
  {
    name: "events of an object",
    path: "/api/v1/namespaces/conf/events?fieldSelector=involvedObject.name=a,involvedObject.kind=Secret",
  },
  { name: "events of another", path: "/api/v1/namespaces/conf/events?fieldSelector=involvedObject.name=b" },
  {
    name: "may I",
    method: "POST",
    path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    body: {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectAccessReview",
      spec: { resourceAttributes: { verb: "get", resource: "secrets" } },
    },
    free: "metadata",
  },
  {
    name: "service account",
    method: "POST",
    path: "/api/v1/namespaces/conf/serviceaccounts",
    body: { metadata: { name: "sa" } },
  },
  {
    name: "secrets as a table",
    path: secrets,
    headers: { Accept: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json" },
  },
  { name: "core versions", path: "/api/v1/namespaces/conf/configmaps/c" },
];

/** In this order, since each builds on those before. */
export const cases: Case[] = [
  ...namespaces,
  ...creations,
  ...reads,
  ...updates,
  ...applies,
  ...deletions,
  ...custom,
  ...others,
];
