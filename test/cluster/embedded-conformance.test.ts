import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { startEmbeddedApi, type EmbeddedApi } from "../../controller/embedded/api.ts";
import { Client, type Reply } from "../controller/embedded/client.ts";
import { startCluster, type Cluster } from "../testbed/cluster.ts";
import { cases, widgetDefinition, type Case } from "./conformance-cases.ts";

let cluster: Cluster;
let embedded: EmbeddedApi;
let real: Client;
let ours: Client;

beforeAll(async () => {
  [cluster, embedded] = await Promise.all([startCluster(), startEmbeddedApi({ crds: [] })]);
  real = new Client({ url: cluster.url, token: cluster.token, caPem: readFileSync(cluster.caFile, "utf8") });
  ours = new Client(embedded);
  const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  for (const client of [real, ours]) {
    expect((await client.call({ method: "POST", path, body: widgetDefinition })).status).toBe(201);
  }
  const served = async (): Promise<number> =>
    (await real.call({ path: "/apis/test.sealwright.dev/v1/widgets" })).status;
  await vi.waitUntil(async () => (await served()) === 200, { timeout: 30_000 });
});

afterAll(async () => {
  real.close();
  ours.close();
  await embedded.stop();
  await cluster.stop();
});

const volatile = new Set(["uid", "resourceVersion", "time", "creationTimestamp", "deletionTimestamp"]);

/** An answer without what differs from one run to the next. */
function normalised(value: unknown, key = ""): unknown {
  if (typeof value === "string") {
    if (volatile.has(key)) return `<${key}>`;
    return value.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "<uid>").replace(/^\d+s$/, "<age>");
  }
  if (Array.isArray(value)) {
    const entries = value.map((entry) => normalised(entry));
    // Managers that write in the same second come in no particular order.
    if (key !== "managedFields") return entries;
    const rank = (entry: unknown): string => {
      const { manager, operation, subresource } = entry as Record<string, string>;
      return JSON.stringify([manager, operation, subresource]);
    };
    return entries.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1));
  }
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([name]) => name !== "storageVersionHash");
  return Object.fromEntries(entries.map(([name, entry]) => [name, normalised(entry, name)]));
}

function comparable(entry: Case, reply: Reply): unknown {
  const { status, body } = reply;
  if (status < 400 && entry.free === "metadata") return { status, body: { ...body, metadata: {} } as object };
  if (status < 400) return { status, body: described(normalised(body)) };
  if (typeof (body as unknown) === "string") return { status, body };
  const { reason, message, details } = body as unknown as Record<string, unknown>;
  return entry.free === "message" ? { status, reason } : normalised({ status, reason, message, details });
}

/** The texts that describe columns are documentation, and differ. */
function described(body: unknown): unknown {
  if (typeof body !== "object" || body === null || !("columnDefinitions" in body)) return body;
  const columns = body.columnDefinitions as object[];
  return { ...body, columnDefinitions: columns.map((column) => ({ ...column, description: "" })) };
}

describe("the embedded API answers as kube-apiserver does", () => {
  for (const entry of cases) {
    test(`${entry.method ?? "GET"} ${entry.name}`, async () => {
      const [theirs, mine] = [await real.call(entry), await ours.call(entry)];
      expect(theirs.status).toBe(entry.status);
      expect(comparable(entry, mine)).toEqual(comparable(entry, theirs));
    });
  }
});
