import { spawn } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type Cluster } from "../testbed/cluster.ts";
import { startFaultProxy, type FaultProxy } from "../testbed/fault-proxy.ts";
import { verbOf } from "../testbed/faults.ts";
import { eventually, run } from "../testbed/process.ts";
import { tool } from "../testbed/tools.ts";
import { startUpstreamController } from "../testbed/upstream.ts";

let cluster: Cluster;
let proxy: FaultProxy;

beforeAll(async () => {
  cluster = await startCluster({ sealedSecretType: true, controllerManager: true });
  await cluster.kubectl(["create", "namespace", "team"]);
  proxy = await startFaultProxy(cluster, 1);
});

afterAll(async () => {
  await proxy.stop();
  await cluster.stop();
});

/** kubectl through the fault proxy; a failure is a result. */
async function throughProxy(...args: string[]): ReturnType<typeof run> {
  return run(await tool("kubectl"), ["--kubeconfig", proxy.kubeconfig, "--request-timeout=3s", ...args]);
}

test("kubectl works, and RBAC is on", async () => {
  expect(await cluster.kubectl(["get", "namespaces", "-o", "name"])).toContain("namespace/kube-system\n");
  const kubeconfig = await cluster.kubeconfigFor("team", "reader");
  await expect(cluster.kubectl(["--kubeconfig", kubeconfig, "get", "secrets"])).rejects.toThrow(
    'User "system:serviceaccount:team:reader" cannot list resource "secrets"',
  );
});

test("the service proxy reaches a server on loopback, and follows it to another port", async () => {
  const answer = async (text: string): Promise<string> => {
    const server = createServer((request, response) => response.end(`${text} ${request.url ?? ""}`));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await cluster.exposeService({ namespace: "team", name: "web", portName: "http", localPort: port });
    const path = "/api/v1/namespaces/team/services/http:web:http/proxy/v1/cert.pem";
    const got = await cluster.kubectl(["get", "--raw", path]);
    server.close();
    return got;
  };
  expect(await answer("one")).toBe("one /v1/cert.pem");
  expect(await answer("two")).toBe("two /v1/cert.pem");
});

test("the upstream controller opens what kubeseal sealed with the certificate from the service proxy", async () => {
  const upstream = await startUpstreamController(cluster);
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "login", namespace: "team" },
    stringData: { password: "correct horse" },
  };
  const sealed = await run(await tool("kubeseal"), ["--kubeconfig", cluster.kubeconfig], {
    stdin: JSON.stringify(secret),
  });
  expect(sealed).toMatchObject({ code: 0, stderr: "" });
  await cluster.kubectl(["apply", "-f", "-"], sealed.stdout);
  const get = [
    "get",
    "secret",
    "login",
    "-n",
    "team",
    "--ignore-not-found",
    "-o",
    "jsonpath={.data.password}",
  ];
  const value = await eventually("the Secret", async () => (await cluster.kubectl(get)) || undefined);
  expect(Buffer.from(value, "base64").toString()).toBe("correct horse");
  await eventually(
    "condition Synced",
    async () => (await cluster.kubectl(["get", "sealedsecrets", "-n", "team"])).includes("True") || undefined,
  );
  await cluster.kubectl(["delete", "sealedsecret", "login", "-n", "team"]);
  await eventually("garbage collection", async () => (await cluster.kubectl(get)) === "" || undefined);
  await upstream.stop();
});

test("a frozen API server keeps its clients waiting; thawed, it answers", async () => {
  cluster.apiserver.freeze();
  await expect(cluster.kubectl(["get", "namespaces", "--request-timeout=1s"])).rejects.toThrow(
    /deadline exceeded|Timeout exceeded/,
  );
  cluster.apiserver.thaw();
  await cluster.kubectl(["get", "namespaces"]);
});

test("the API server and etcd restart with what they held", async () => {
  await cluster.kubectl(["create", "configmap", "kept", "-n", "team"]);
  await cluster.apiserver.stop();
  await expect(cluster.kubectl(["get", "namespaces"])).rejects.toThrow("refused");
  await cluster.apiserver.start();
  await cluster.etcd.stop();
  await cluster.etcd.start();
  const get = ["get", "configmap", "kept", "-n", "team", "-o", "name"];
  await eventually("the kept object", () => cluster.kubectl(get).catch(() => undefined));
});

test("the fault proxy answers for a verb and a path, and only for them", async () => {
  const rule = proxy.add({
    verb: "create",
    path: /\/configmaps/,
    fault: { kind: "answer", status: 409 },
  });
  const refused = await throughProxy("create", "configmap", "made");
  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect(refused.stderr).toContain("fault proxy: Conflict");
  expect((await throughProxy("create", "namespace", "made")).code).toBe(0);
  expect(rule.hits).toBe(1);
  rule.remove();
  expect((await throughProxy("create", "configmap", "made")).code).toBe(0);
});

test("a client that gets 429 with Retry-After comes back, and the spent rule lets it through", async () => {
  const rule = proxy.add({
    verb: "list",
    path: /\/configmaps/,
    times: 1,
    fault: { kind: "answer", status: 429, retryAfterSeconds: 1 },
  });
  expect(await throughProxy("get", "configmaps")).toMatchObject({ code: 0 });
  expect(rule.hits).toBe(1);
  expect(
    proxy.requests.filter((line) => line.startsWith("list ") && line.includes("/configmaps")),
  ).toHaveLength(2);
  proxy.clear();
});

test.each([
  [{ kind: "drop" }, /EOF|reset/],
  [{ kind: "lose-answer" }, /EOF|reset/],
  [{ kind: "cut", afterBytes: [10, 200] }, /EOF|reset|unexpected end/],
  [{ kind: "half-close", afterBytes: 100 }, /EOF|unexpected end/],
  [{ kind: "stall", afterBytes: 100 }, /deadline|Timeout|timeout/],
  [{ kind: "delay", milliseconds: [5000, 6000] }, /deadline|Timeout|timeout/],
] as const)("the fault proxy breaks a list: %j", async (fault, error) => {
  const rule = proxy.add({ verb: "list", path: /\/namespaces/, fault });
  const broken = await throughProxy("get", "namespaces", "-o", "json");
  expect(broken.code).toBe(1);
  expect(broken.stderr).toMatch(error);
  expect(rule.hits).toBeGreaterThan(0);
  proxy.clear();
  expect((await throughProxy("get", "namespaces", "-o", "json")).code).toBe(0);
});

test("a frozen proxy holds an open watch, and lets the held events go when it thaws", async () => {
  const watch = spawn(await tool("kubectl"), [
    ...["--kubeconfig", proxy.kubeconfig],
    ...["get", "configmaps", "--watch-only", "-o", "name"],
  ]);
  let seen = "";
  watch.stdout.on("data", (chunk: Buffer) => (seen += chunk.toString()));
  await eventually("the watch", () => proxy.requests.some((line) => line.startsWith("watch ")) || undefined);
  await cluster.kubectl(["create", "configmap", "before"]);
  await eventually("the first event", () => seen.includes("configmap/before") || undefined);
  proxy.freeze();
  await cluster.kubectl(["create", "configmap", "during"]);
  expect((await throughProxy("get", "configmaps")).code).toBe(1);
  expect(seen).not.toContain("configmap/during");
  proxy.thaw();
  await eventually("the held event", () => seen.includes("configmap/during") || undefined);
  watch.kill();
});

test("one seed gives one sequence of faults", async () => {
  const pattern = async (seed: number): Promise<string[]> => {
    const again = await startFaultProxy(cluster, seed);
    again.add({ probability: 0.5, fault: { kind: "answer", status: 403 } });
    const answers: string[] = [];
    for (let i = 0; i < 12; i++) {
      const args = ["--kubeconfig", again.kubeconfig, "get", "--raw", "/version"];
      answers.push(String((await run(await tool("kubectl"), args)).code));
    }
    await again.stop();
    return answers;
  };
  const first = await pattern(7);
  expect(await pattern(7)).toEqual(first);
  expect(new Set(first)).toEqual(new Set(["0", "1"]));
});

test.each([
  ["GET", "/api/v1/secrets", "list"],
  ["GET", "/api/v1/namespaces/a/secrets?limit=5", "list"],
  ["GET", "/api/v1/namespaces/a/secrets?watch=true", "watch"],
  ["GET", "/api/v1/namespaces/a/secrets/b", "get"],
  ["GET", "/api/v1/namespaces/a", "get"],
  ["GET", "/api/v1/namespaces", "list"],
  ["GET", "/apis/bitnami.com/v1alpha1/sealedsecrets", "list"],
  ["PUT", "/apis/bitnami.com/v1alpha1/namespaces/a/sealedsecrets/b/status", "update"],
  ["DELETE", "/api/v1/namespaces/a/secrets", "deletecollection"],
  ["DELETE", "/api/v1/namespaces/a/secrets/b", "delete"],
  ["GET", "/version", "get"],
])("%s %s is the verb %s", (method, url, verb) => {
  expect(verbOf(method, url)).toBe(verb);
});

test("when the test process is killed, its servers die and their files go", async () => {
  const script = `
    import { startCluster } from "./test/testbed/cluster.ts";
    const cluster = await startCluster();
    console.log(cluster.directory);
    console.log(await cluster.kubectl(["get", "--raw", "/readyz"]));
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script]);
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  await eventually("the other cluster", () => output.includes("\nok") || undefined);
  const directory = output.split("\n")[0]!;
  const ofCluster = async (): Promise<string> => (await run("pgrep", ["-f", directory])).stdout;
  expect((await ofCluster()).trim().split("\n")).toHaveLength(2);
  child.kill("SIGKILL");
  await eventually("the end of its servers", async () => (await ofCluster()) === "" || undefined);
  await eventually(
    "the end of its files",
    async () => (await run("ls", [directory])).code !== 0 || undefined,
  );
});
