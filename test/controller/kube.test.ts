import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Kube, type KubeObject, loadKube, refOf, keyOf, secrets } from "../../controller/kube.ts";
import { Limiter } from "../../controller/kube-limiter.ts";
import type { SecretError } from "../../formats/errors.ts";
import { canary, json, ScriptedServer, status, until } from "./kube-scripted.ts";

let server: ScriptedServer;
let kube: Kube;

beforeEach(async () => {
  server = await ScriptedServer.start();
  kube = server.client();
});
afterEach(async () => {
  kube.close();
  await server.stop();
});

const ref = { namespace: "n", name: "a" };
const object: KubeObject = { metadata: { ...ref, resourceVersion: "7" }, data: {} };

async function failure(promise: Promise<unknown>): Promise<SecretError> {
  return promise.then(
    () => expect.unreachable("it should have failed"),
    (thrown: unknown) => thrown as SecretError,
  );
}

describe("answers", () => {
  test("an object that is missing is undefined, a kind that is missing is a failure", async () => {
    server.script = (_, response) =>
      status(response, 404, { reason: "NotFound", details: { name: "a", kind: "secrets" } });
    expect(await kube.get(secrets, ref)).toBeUndefined();
    expect(await kube.delete(secrets, ref)).toBe(false);
    expect(await failure(kube.update(secrets, object))).toMatchObject({ code: "NotFound" });
    server.script = (_, response) => {
      response.writeHead(404).end("404 page not found\n");
      return true;
    };
    expect(await failure(kube.get(secrets, ref))).toMatchObject({ code: "NotFound" });
    expect(await failure(kube.delete(secrets, ref))).toMatchObject({ code: "NotFound" });
  });

  const immutable = {
    reason: "FieldValueForbidden",
    field: "data",
    message: "field is immutable when `immutable` is set",
  };
  test.each([
    [401, {}, "Forbidden"],
    [403, {}, "Forbidden"],
    [409, { reason: "AlreadyExists" }, "Conflict"],
    [410, {}, "Expired"],
    [413, {}, "Rejected"],
    [422, { reason: "Invalid" }, "Rejected"],
    [422, { reason: "Invalid", details: { causes: [immutable] } }, "ImmutableSecret"],
    [307, {}, "RemoteUnavailable"],
    [500, {}, "RemoteUnavailable"],
    [503, {}, "RemoteUnavailable"],
  ])("%i %j is %s, and the body is not repeated", async (code, body, expected) => {
    server.script = (_, response) => status(response, code, body);
    const error = await failure(kube.update(secrets, object));
    expect(error.code).toBe(expected);
    expect(error.message).toContain("update secrets n/a");
    expect(`${error.message} ${error.hint ?? ""}`).not.toContain(canary);
  });

  test("what was forbidden is named as RBAC names it", async () => {
    server.script = (_, response) => status(response, 403);
    const error = await failure(kube.updateStatus(secrets, object));
    expect(error.message).toContain("update secrets/status n/a");
    expect(error.hint).toBe('allow verb "update" on resource "secrets/status" in API group ""');
  });

  test("an unreadable answer is a failure, not an empty one", async () => {
    server.script = (_, response) => {
      response.writeHead(200).end(`{"metadata":{"resourceVersion":"1"},"items":[${canary}`);
      return true;
    };
    const error = await failure(kube.list(secrets));
    expect(error).toMatchObject({ code: "RemoteUnavailable" });
    expect(error.message).not.toContain(canary);
    server.script = (_, response) => json(response, { metadata: { resourceVersion: "1" } });
    expect(await failure(kube.list(secrets))).toMatchObject({ code: "RemoteUnavailable" });
  });

  test("an answer that is cut off is a failure", async () => {
    server.script = (_, response) => {
      response.writeHead(200, { "Content-Length": 1000 }).write("{");
      setTimeout(() => response.destroy(), 20);
      return true;
    };
    expect(await failure(kube.get(secrets, ref))).toMatchObject({ code: "RemoteUnavailable" });
  });
});

describe("requests", () => {
  test("writes name their field manager and carry the version", async () => {
    server.script = (seen, response) => json(response, JSON.parse(seen.body));
    await kube.update(secrets, object);
    await kube.create(secrets, object);
    await kube.patch(secrets, ref, { body: { metadata: { name: "a" } } });
    await kube.delete(secrets, ref, { uid: "u", resourceVersion: "7" });
    expect(server.seen.map((s) => `${s.method} ${s.path} ${s.query.toString()}`)).toEqual([
      "PUT /api/v1/namespaces/n/secrets/a fieldManager=sealwright-controller",
      "POST /api/v1/namespaces/n/secrets fieldManager=sealwright-controller",
      "PATCH /api/v1/namespaces/n/secrets/a fieldManager=sealwright-controller",
      "DELETE /api/v1/namespaces/n/secrets/a ",
    ]);
    expect(JSON.parse(server.seen[0]!.body)).toEqual({ apiVersion: "v1", kind: "Secret", ...object });
    expect(server.seen[2]!.headers["content-type"]).toBe("application/merge-patch+json");
    expect(JSON.parse(server.seen[3]!.body)).toMatchObject({
      preconditions: { uid: "u", resourceVersion: "7" },
    });
  });

  test("names can't leave their place in the path", async () => {
    server.script = (_, response) => json(response, object);
    await kube.get(secrets, { namespace: "n", name: "../../../x?y" });
    expect(server.seen[0]!.path).toBe("/api/v1/namespaces/n/secrets/..%2F..%2F..%2Fx%3Fy");
    expect(await failure(kube.delete(secrets, { namespace: "n", name: ".." }))).toMatchObject({
      code: "Internal",
    });
    expect(server.seen).toHaveLength(1);
  });

  test("a namespaced object without a namespace never becomes a request", async () => {
    expect(await failure(kube.get(secrets, { name: "a" }))).toMatchObject({ code: "Internal" });
    expect(server.seen).toEqual([]);
  });

  test("T39: 429 is waited out in place, but a create is left to the caller", async () => {
    const refusals = { left: 2 };
    server.script = (seen, response) => {
      if (refusals.left-- <= 0) return json(response, JSON.parse(seen.body));
      response.setHeader("Retry-After", "0");
      return status(response, 429);
    };
    await kube.update(secrets, object);
    expect(server.seen).toHaveLength(3);
    refusals.left = 1;
    expect(await failure(kube.create(secrets, object))).toMatchObject({ code: "Throttled", retryAfterMs: 0 });
    expect(server.seen).toHaveLength(4);
  });

  test("T39: a long Retry-After and a never-ending 429 reach the caller", async () => {
    server.script = (_, response) => {
      response.setHeader("Retry-After", "30");
      return status(response, 429);
    };
    expect(await failure(kube.update(secrets, object))).toMatchObject({
      code: "Throttled",
      retryAfterMs: 30_000,
    });
    expect(server.seen).toHaveLength(1);
    server.script = (_, response) => {
      response.setHeader("Retry-After", "0");
      return status(response, 429);
    };
    expect(await failure(kube.get(secrets, ref))).toMatchObject({ code: "Throttled" });
    expect(server.seen).toHaveLength(5);
  });

  test("deadlines and signals end a call, a full pool included", async () => {
    server.script = () => true;
    expect(await failure(kube.get(secrets, ref, { timeoutMs: 50 }))).toMatchObject({
      code: "RemoteUnavailable",
    });
    const abort = new AbortController();
    const calls = Array.from({ length: 40 }, () => failure(kube.get(secrets, ref, { signal: abort.signal })));
    await until(() => server.seen.length === 33);
    abort.abort();
    for (const error of await Promise.all(calls)) expect(error.message).toContain("cancelled");
    expect(await failure(kube.get(secrets, ref, { signal: abort.signal }))).toMatchObject({
      code: "RemoteUnavailable",
    });
  });

  test("a kept connection that the server has closed costs no failure", async () => {
    let served = 0;
    server.script = (seen, response) => {
      if (++served === 2) response.destroy();
      else json(response, seen.method === "GET" ? object : JSON.parse(seen.body));
      return true;
    };
    await kube.get(secrets, ref);
    expect(await kube.update(secrets, object)).toMatchObject({ metadata: { name: "a" } });
    served = 1;
    expect(await failure(kube.create(secrets, object))).toMatchObject({ code: "RemoteUnavailable" });
  });

  test("a 401 fetches fresh credentials once", async () => {
    const asked: boolean[] = [];
    const url = new URL(`http://127.0.0.1:${server.port}`);
    const client = server.client({
      connect: (fresh) => {
        asked.push(fresh);
        const headers = { Authorization: fresh ? "Bearer new" : "Bearer old" };
        return Promise.resolve({ server: url, headers, tls: {} });
      },
    });
    server.script = (seen, response) =>
      seen.headers.authorization === "Bearer new" ? json(response, object) : status(response, 401);
    expect(await client.get(secrets, ref)).toMatchObject({ metadata: { name: "a" } });
    expect(asked).toEqual([false, true]);
    client.close();
  });

  test("each request on the wire is reported", async () => {
    const records: string[] = [];
    const client = server.client({ onRequest: (r) => records.push(`${r.verb} ${r.resource} ${r.status}`) });
    server.script = (_, response) => status(response, 500);
    await failure(client.updateStatus(secrets, object));
    server.script = (_, response) => {
      response.destroy();
      return true;
    };
    await failure(client.list(secrets));
    expect(records).toEqual(["update secrets/status 500", "list secrets 0"]);
    client.close();
  });

  test("an API server that isn't there", async () => {
    const client = server.client();
    await server.stop();
    const error = await failure(client.get(secrets, ref));
    expect(error).toMatchObject({ code: "RemoteUnavailable" });
    expect(error.message).toContain("ECONNREFUSED");
    server = await ScriptedServer.start();
  });
});

test("the limiter lets a burst through and spaces the rest", () => {
  let now = 0;
  const limiter = new Limiter(10, 3, () => now);
  expect(Array.from({ length: 5 }, () => limiter.reserve())).toEqual([0, 0, 0, 100, 200]);
  now = 10_000;
  expect(Array.from({ length: 4 }, () => limiter.reserve())).toEqual([0, 0, 0, 100]);
});

test("a key names one object", () => {
  expect(refOf(keyOf(ref))).toEqual(ref);
  expect(refOf(keyOf({ name: "a" }))).toEqual({ name: "a" });
});

describe("kubeconfig", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "kubeconfig-"));
  });
  afterEach(async () => rm(directory, { recursive: true }));

  async function kubeconfig(name: string, token: string): Promise<string> {
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": name,
      clusters: [{ name, cluster: { server: `http://127.0.0.1:${server.port}/prefix` } }],
      users: [{ name, user: { token } }],
      contexts: [{ name, context: { cluster: name, user: name, namespace: `${name}-namespace` } }],
    };
    const path = join(directory, name);
    await writeFile(path, JSON.stringify(config));
    return path;
  }

  test("an explicit path wins over the list, in which the first file wins", async () => {
    const [one, two] = [await kubeconfig("one", "t1"), await kubeconfig("two", "t2")];
    const env = { KUBECONFIG: `${join(directory, "missing")}:${one}:${two}` };
    server.script = (_, response) => json(response, object);
    for (const options of [{ env }, { env, kubeconfig: two }, { env, context: "two" }]) {
      const loaded = await loadKube(options);
      await loaded.get(secrets, ref);
      loaded.close();
    }
    expect(server.seen.map((s) => s.headers.authorization)).toEqual(["Bearer t1", "Bearer t2", "Bearer t2"]);
    expect(server.seen[0]!.path).toBe("/prefix/api/v1/namespaces/n/secrets/a");
    expect((await loadKube({ env })).defaultNamespace).toBe("one-namespace");
  });

  test("a token that was replaced in the file is picked up on a 401", async () => {
    const path = await kubeconfig("one", "old");
    const loaded = await loadKube({ env: {}, kubeconfig: path });
    server.script = (seen, response) =>
      seen.headers.authorization === "Bearer new" ? json(response, object) : status(response, 401);
    expect(await failure(loaded.get(secrets, ref))).toMatchObject({ code: "Forbidden" });
    await kubeconfig("one", "new");
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect(await loaded.get(secrets, ref)).toMatchObject({ metadata: { name: "a" } });
    loaded.close();
  });

  test("nowhere to look, and files that are no use", async () => {
    expect(await failure(loadKube({ env: {} }))).toMatchObject({ code: "Usage" });
    const path = join(directory, "broken");
    expect(await failure(loadKube({ env: {}, kubeconfig: path }))).toMatchObject({ code: "FileUnusable" });
    await writeFile(path, `{${canary}: [`);
    const error = await failure(loadKube({ env: {}, kubeconfig: path }));
    expect(error).toMatchObject({ code: "FileUnusable" });
    expect(error.message).not.toContain(canary);
    const good = await kubeconfig("one", "t");
    expect(await failure(loadKube({ env: {}, kubeconfig: good, context: "other" }))).toMatchObject({
      code: "FileUnusable",
    });
  });
});
