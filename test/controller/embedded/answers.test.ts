import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startEmbeddedApi, type EmbeddedApi } from "../../../controller/embedded/api.ts";
import { cases, widgetDefinition } from "../../cluster/conformance-cases.ts";
import { Client } from "./client.ts";

let api: EmbeddedApi;
let client: Client;
const failures: unknown[] = [];

beforeAll(async () => {
  api = await startEmbeddedApi({ crds: [widgetDefinition], onFailure: (failure) => failures.push(failure) });
  client = new Client(api);
});

afterAll(async () => {
  client.close();
  await api.stop();
});

// The bodies are compared with a real kube-apiserver's in test/cluster/embedded-conformance.test.ts.
describe("answers have the status of kube-apiserver's", () => {
  for (const entry of cases) {
    test(`${entry.method ?? "GET"} ${entry.name}`, async () => {
      expect((await client.call(entry)).status).toBe(entry.status);
      expect(failures).toEqual([]);
    });
  }
});
