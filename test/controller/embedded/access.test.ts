import { createServer, type Server } from "node:http";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startEmbeddedApi, type EmbeddedApi } from "../../../controller/embedded/api.ts";
import { Client, type Kubeconfig, type Reply } from "./client.ts";

let api: EmbeddedApi;
let client: Client;
let behind: Server;
const directory = mkdtempSync(join(tmpdir(), "sealwright-access-"));
const kubeconfigPath = join(directory, "kubeconfig");

beforeAll(async () => {
  api = await startEmbeddedApi({ crds: [], kubeconfig: kubeconfigPath });
  client = new Client(api);
  behind = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { url, method, headers } = request;
      response.writeHead(url === "/v1/verify" ? 409 : 200, { "Content-Type": "application/json" });
      response.end(JSON.stringify({ url, method, headers, body: Buffer.concat(chunks).toString() }));
    });
  });
  await new Promise<void>((resolve) => behind.listen(0, "127.0.0.1", resolve));
});

afterAll(async () => {
  client.close();
  await api.stop();
  behind.close();
  rmSync(directory, { recursive: true });
});

test("without the token there is only 401", async () => {
  for (const token of ["", "wrong", `${api.token}x`]) {
    const stranger = new Client({ ...api, token });
    const reply = await stranger.call({ path: "/api/v1/secrets" });
    expect(reply.status).toBe(401);
    expect(reply.body).toMatchObject({ kind: "Status", reason: "Unauthorized", code: 401 });
    stranger.close();
  }
});

test("the kubeconfig is its owner's alone and names server, authority and token", () => {
  expect(statSync(kubeconfigPath).mode & 0o777).toBe(0o600);
  const config = JSON.parse(readFileSync(kubeconfigPath, "utf8")) as Kubeconfig;
  expect(config.clusters[0]!.cluster.server).toBe(api.url);
  expect(config.users[0]!.user.token).toBe(api.token);
});

test("a requested token is accepted and reviewed", async () => {
  const accounts = "/api/v1/namespaces/default/serviceaccounts";
  await client.call({ method: "POST", path: accounts, body: { metadata: { name: "robot" } } });
  const reply = await client.call({
    method: "POST",
    path: `${accounts}/robot/token`,
    body: { spec: { audiences: [] } },
  });
  const token = reply.body.status.token;
  const robot = new Client({ ...api, token });
  expect((await robot.call({ path: "/api/v1/secrets" })).status).toBe(200);
  robot.close();
  const path = "/apis/authentication.k8s.io/v1/tokenreviews";
  const review = (text: string): Promise<Reply> =>
    client.call({ method: "POST", path, body: { spec: { token: text } } });
  expect((await review(token)).body.status.authenticated).toBe(true);
  expect((await review("other")).body.status.authenticated).toBeUndefined();
});

test("a body over 3 MiB is refused", async () => {
  const body = Buffer.alloc(3 * 1024 * 1024 + 1, 0x20);
  const reply = await client
    .call({ method: "POST", path: "/api/v1/namespaces/default/secrets", body })
    .catch(() => undefined);
  expect(reply?.status ?? 413).toBe(413);
  expect((await client.call({ path: "/readyz" })).status).toBe(200);
});

test("the service proxy reaches a registered target with path, query, method and body", async () => {
  const { port } = behind.address() as AddressInfo;
  api.setProxyTarget("kube-system", "sealed-secrets-controller", `http://127.0.0.1:${port}`);
  const base = "/api/v1/namespaces/kube-system/services";
  for (const reference of [
    "http:sealed-secrets-controller:http",
    "http:sealed-secrets-controller:",
    "sealed-secrets-controller",
  ]) {
    const reply = await client.call({ path: `${base}/${reference}/proxy/v1/cert.pem?a=b` });
    expect(reply).toMatchObject({ status: 200, body: { url: "/v1/cert.pem?a=b", method: "GET" } });
    expect(reply.body.headers["authorization"]).toBeUndefined();
  }
  const verify = await client.call({
    method: "POST",
    path: `${base}/http:sealed-secrets-controller:/proxy/v1/verify`,
    body: { a: 1 },
  });
  expect(verify).toMatchObject({ status: 409, body: { method: "POST", body: '{"a":1}' } });
});

test("the proxy opens no other way: unknown services, other hosts, a target that is gone", async () => {
  const base = "/api/v1/namespaces/kube-system/services";
  expect((await client.call({ path: `${base}/nothing/proxy/` })).status).toBe(404);
  expect(() => api.setProxyTarget("kube-system", "x", "http://192.0.2.1:80")).toThrow(/not on loopback/);
  expect(() => api.setProxyTarget("kube-system", "x", "http://127.0.0.1.example.com")).toThrow(
    /not on loopback/,
  );
  api.setProxyTarget("kube-system", "gone", "http://127.0.0.1:1");
  expect((await client.call({ path: `${base}/gone/proxy/` })).status).toBe(503);
});
