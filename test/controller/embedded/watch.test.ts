import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { startEmbeddedApi, type EmbeddedApi } from "../../../controller/embedded/api.ts";
import { Client, type WatchEvent } from "./client.ts";

const secrets = "/api/v1/namespaces/default/secrets";
let api: EmbeddedApi;
let client: Client;

beforeAll(async () => {
  api = await startEmbeddedApi({ crds: [], historyLimit: 20 });
  client = new Client(api);
});

afterAll(async () => {
  client.close();
  await api.stop();
});

beforeEach(async () => {
  await client.call({ method: "DELETE", path: secrets });
});

async function create(name: string, labels: Record<string, string> = {}): Promise<string> {
  const body = { metadata: { name, labels }, stringData: { a: name } };
  const reply = await client.call({ method: "POST", path: secrets, body });
  expect(reply.status).toBe(201);
  return reply.body.metadata.resourceVersion;
}

async function label(name: string, labels: Record<string, string | null>): Promise<void> {
  const type = "application/merge-patch+json";
  await client.call({ method: "PATCH", path: `${secrets}/${name}`, type, body: { metadata: { labels } } });
}

function brief(events: WatchEvent[]): string[] {
  return events.map(({ type, object }) => (type === "BOOKMARK" ? type : `${type} ${object.metadata.name}`));
}

test("a watch from a resourceVersion misses nothing and repeats nothing", async () => {
  const version = await create("before");
  await create("missed");
  const watching = client.watch(
    `${secrets}?watch=true&resourceVersion=${version}`,
    (seen) => seen.length === 4,
  );
  await create("later");
  await label("later", { x: "y" });
  await client.call({ method: "DELETE", path: `${secrets}/before` });
  const events = await watching;
  expect(brief(events)).toEqual(["ADDED missed", "ADDED later", "MODIFIED later", "DELETED before"]);
  const versions = events.map((event) => Number(event.object.metadata.resourceVersion));
  expect(versions).toEqual(versions.toSorted((a, b) => a - b));
});

test("objects that enter or leave the selection are added or deleted", async () => {
  const version = await create("a", { in: "no" });
  const path = `${secrets}?watch=1&labelSelector=in%3Dyes&resourceVersion=${version}`;
  const watching = client.watch(path, (seen) => seen.length === 4);
  await label("a", { in: "yes" });
  await label("a", { more: "x" });
  await label("a", { in: "no" });
  await create("b", { in: "yes" });
  const events = await watching;
  expect(brief(events)).toEqual(["ADDED a", "MODIFIED a", "DELETED a", "ADDED b"]);
  // The deletion shows the object as it was selected.
  expect(events[2]!.object.metadata.labels).toEqual({ in: "yes", more: "x" });
});

test("a watch without a resourceVersion starts with what is there", async () => {
  await create("a");
  await create("b");
  expect(brief(await client.watch(`${secrets}?watch=true`, (seen) => seen.length === 2))).toEqual([
    "ADDED a",
    "ADDED b",
  ]);
});

test("initial events end with a marked bookmark", async () => {
  await create("a");
  const path = `${secrets}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`;
  const events = await client.watch(path, (seen) => seen.length === 2);
  expect(brief(events)).toEqual(["ADDED a", "BOOKMARK"]);
  expect(events[1]!.object.metadata.annotations).toEqual({ "k8s.io/initial-events-end": "true" });
  expect(events[1]!.object.kind).toBe("Secret");
});

test("a watch from before the kept history gets an in-stream 410", async () => {
  const version = await create("first");
  for (let i = 0; i < 40; i++) await create(`s${i}`);
  const events = await client.watch(`${secrets}?watch=true&resourceVersion=${version}`, () => false);
  expect(events).toHaveLength(1);
  expect(events[0]).toMatchObject({
    type: "ERROR",
    object: { kind: "Status", code: 410, reason: "Expired" },
  });
});

test("writes to other resources do not age a watch", async () => {
  const version = await create("first");
  for (let i = 0; i < 40; i++) {
    const path = "/api/v1/namespaces/default/configmaps";
    await client.call({ method: "POST", path, body: { metadata: { name: `c${i}` } } });
  }
  await create("second");
  const events = await client.watch(
    `${secrets}?watch=true&resourceVersion=${version}`,
    (seen) => seen.length > 0,
  );
  expect(brief(events)).toEqual(["ADDED second"]);
});

test("timeoutSeconds ends a watch in order", async () => {
  const path = `${secrets}?watch=true&resourceVersion=0&timeoutSeconds=1&allowWatchBookmarks=true`;
  expect(brief(await client.watch(path, () => false))).toEqual(["BOOKMARK"]);
});

test("a watch of metadata carries no data", async () => {
  await create("a");
  const reply = await client.call({
    path: `${secrets}?watch=true&timeoutSeconds=1`,
    headers: { Accept: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1" },
  });
  const [event] = (reply.body as unknown as string)
    .split("\n")
    .map((line) => JSON.parse(line || "{}") as WatchEvent);
  expect(event).toMatchObject({
    type: "ADDED",
    object: { kind: "PartialObjectMetadata", metadata: { name: "a" } },
  });
  expect(event!.object.data).toBeUndefined();
});

test("pages of a list are one consistent state, or 410", async () => {
  for (const name of ["a", "b", "c", "d"]) await create(name);
  const names = (items: { metadata: { name: string } }[]): string[] =>
    items.map((item) => item.metadata.name);
  const first = await client.call({ path: `${secrets}?limit=2` });
  expect(names(first.body.items)).toEqual(["a", "b"]);
  expect(first.body.metadata.remainingItemCount).toBe(2);
  await client.call({ method: "DELETE", path: `${secrets}/c` });
  await create("bb");
  const next = `${secrets}?limit=2&continue=${first.body.metadata.continue}`;
  const second = await client.call({ path: next });
  expect(names(second.body.items)).toEqual(["c", "d"]);
  expect(second.body.metadata.resourceVersion).toBe(first.body.metadata.resourceVersion);
  for (let i = 0; i < 40; i++) await create(`s${i}`);
  expect((await client.call({ path: next })).status).toBe(410);
});
