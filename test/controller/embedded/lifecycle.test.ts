import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startEmbeddedApi, type EmbeddedApi } from "../../../controller/embedded/api.ts";
import { widgetDefinition } from "../../cluster/conformance-cases.ts";
import { Client, type Reply } from "./client.ts";

const core = "/api/v1/namespaces";
const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const widgets = "/apis/test.sealwright.dev/v1/namespaces/default/widgets";
let api: EmbeddedApi;
let client: Client;

beforeAll(async () => {
  api = await startEmbeddedApi({ crds: [widgetDefinition] });
  client = new Client(api);
});

afterAll(async () => {
  client.close();
  await api.stop();
});

async function post(path: string, body: unknown): Promise<Reply> {
  const reply = await client.call({ method: "POST", path, body });
  expect(reply.status).toBe(201);
  return reply;
}

async function statusOf(path: string): Promise<number> {
  return (await client.call({ path })).status;
}

function owner(reply: Reply, more: object = {}): object {
  const { apiVersion, kind, metadata } = reply.body;
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid, ...more };
}

function owned(name: string, ...ownerReferences: object[]): object {
  return { metadata: { name, ownerReferences } };
}

test("dependents follow their last owner", async () => {
  const first = await post(widgets, { metadata: { name: "first" }, spec: { size: 1 } });
  const second = await post(widgets, { metadata: { name: "second" }, spec: { size: 1 } });
  const path = `${core}/default/secrets`;
  await post(path, owned("both", owner(first), owner(second)));
  await post(path, owned("one", owner(first)));
  await client.call({ method: "DELETE", path: `${widgets}/first` });
  await vi.waitUntil(async () => (await statusOf(`${path}/one`)) === 404);
  const left = await client.call({ path: `${path}/both` });
  expect(left.body.metadata.ownerReferences).toEqual([owner(second)]);
  await client.call({ method: "DELETE", path: `${widgets}/second` });
  await vi.waitUntil(async () => (await statusOf(`${path}/both`)) === 404);
});

test("an owner of the same name with another uid is no owner; one of an unknown kind is left alone", async () => {
  const made = await post(widgets, { metadata: { name: "again" }, spec: { size: 1 } });
  const path = `${core}/default/secrets`;
  await post(path, owned("stale", owner(made, { uid: "00000000-0000-0000-0000-000000000000" })));
  await post(path, owned("foreign", { apiVersion: "apps/v1", kind: "Deployment", name: "d", uid: "1" }));
  await vi.waitUntil(async () => (await statusOf(`${path}/stale`)) === 404);
  expect(await statusOf(`${path}/foreign`)).toBe(200);
});

test("orphaned dependents stay, without the reference", async () => {
  const made = await post(widgets, { metadata: { name: "parent" }, spec: { size: 1 } });
  const path = `${core}/default/secrets`;
  await post(path, owned("child", owner(made)));
  await client.call({ method: "DELETE", path: `${widgets}/parent`, body: { propagationPolicy: "Orphan" } });
  await vi.waitUntil(async () => (await statusOf(`${widgets}/parent`)) === 404);
  const left = await client.call({ path: `${path}/child` });
  expect(left.status).toBe(200);
  expect(left.body.metadata.ownerReferences ?? []).toEqual([]);
});

test("with foreground deletion the owner goes last", async () => {
  const made = await post(widgets, { metadata: { name: "last" }, spec: { size: 1 } });
  const path = `${core}/default/secrets`;
  await post(path, {
    metadata: { name: "held", finalizers: ["x.example.com/f"], ownerReferences: [owner(made)] },
  });
  await client.call({ method: "DELETE", path: `${widgets}/last`, body: { propagationPolicy: "Foreground" } });
  await vi.waitUntil(
    async () => (await client.call({ path: `${path}/held` })).body.metadata.deletionTimestamp,
  );
  expect(await statusOf(`${widgets}/last`)).toBe(200);
  const type = "application/merge-patch+json";
  await client.call({
    method: "PATCH",
    path: `${path}/held`,
    type,
    body: { metadata: { finalizers: null } },
  });
  await vi.waitUntil(async () => (await statusOf(`${widgets}/last`)) === 404);
});

test("a namespace goes with its content, and takes no new content meanwhile", async () => {
  await post(core, { metadata: { name: "going" } });
  await post(`${core}/going/secrets`, { metadata: { name: "held", finalizers: ["x.example.com/f"] } });
  await post(`${core}/going/configmaps`, { metadata: { name: "free" } });
  const marked = await client.call({ method: "DELETE", path: `${core}/going` });
  expect(marked.body).toMatchObject({ kind: "Namespace", status: { phase: "Terminating" } });
  await vi.waitUntil(async () => (await statusOf(`${core}/going/configmaps/free`)) === 404);
  const late = await client.call({
    method: "POST",
    path: `${core}/going/secrets`,
    body: { metadata: { name: "x" } },
  });
  expect(late).toMatchObject({
    status: 403,
    body: { details: { causes: [{ reason: "NamespaceTerminating" }] } },
  });
  const type = "application/merge-patch+json";
  const path = `${core}/going/secrets/held`;
  await client.call({ method: "PATCH", path, type, body: { metadata: { finalizers: null } } });
  await vi.waitUntil(async () => (await statusOf(`${core}/going`)) === 404);
});

test("a definition takes its objects with it and can come back", async () => {
  await post(widgets, { metadata: { name: "w" }, spec: { size: 1 } });
  await client.call({ method: "DELETE", path: `${definitions}/widgets.test.sealwright.dev` });
  await vi.waitUntil(async () => (await statusOf(widgets)) === 404);
  expect(await statusOf(`${definitions}/widgets.test.sealwright.dev`)).toBe(404);
  await post(definitions, widgetDefinition);
  expect((await client.call({ path: widgets })).body.items).toEqual([]);
});

test("generateName finds a free name", async () => {
  const made = await post(`${core}/default/secrets`, { metadata: { generateName: "sealed-secrets-key" } });
  expect(made.body.metadata.name).toMatch(/^sealed-secrets-key[a-z0-9]{5}$/);
  expect(made.body.metadata.generateName).toBe("sealed-secrets-key");
});
