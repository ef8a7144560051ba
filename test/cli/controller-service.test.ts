import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { contents, keyPair, program, workspace } from "./program.ts";

/**
 * What an API server with a controller behind it may answer; here for the answers that a healthy one does not give on demand.
 * The healthy way is tested against real servers, under `test/cluster`.
 */
type Answer = (
  path: string,
  body: string,
  request: IncomingMessage,
) => { status: number; body?: string; headers?: object };

const service = "/api/v1/namespaces/kube-system/services";
const proxy = `${service}/http:sealed-secrets-controller:http/proxy/v1`;
const found = { status: 200, body: '{"spec": {"ports": [{"name": "http", "port": 8080}]}}' };

async function apiServer(answer: Answer): Promise<{ flags: string[]; requests: string[] }> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const path = request.url ?? "";
      requests.push(`${request.method ?? ""} ${path}`);
      const own = answer(path, Buffer.concat(chunks).toString(), request);
      const isService = path === `${service}/sealed-secrets-controller` && own.status === 0;
      const { status, body, headers = {} } = isService ? { ...found, headers: {} } : own;
      response.writeHead(status, headers as Record<string, string>).end(body);
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { flags: ["--server", `http://127.0.0.1:${(server.address() as AddressInfo).port}`], requests };
}

/** Nothing of its own to say about the Service. */
const asUsual = { status: 0 };
const canary = "canary-hunter2";

const sealedYaml = `# ours
apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata:
  name: db
  namespace: prod
  labels: {app: web}   # kept
spec:
  encryptedData:
    a: AgOld
  template:
    metadata:
      annotations: {note: kept}
    data:
      url: "{{ .a }}"
`;

test("the certificate comes through the service proxy, with the login that the flags give", async () => {
  const { certificatePem } = await keyPair();
  const logins: unknown[] = [];
  const { flags, requests } = await apiServer((path, _, { headers }) => {
    logins.push([headers.authorization, headers["impersonate-user"], headers["impersonate-group"]]);
    return path.startsWith(proxy) ? { status: 200, body: certificatePem } : asUsual;
  });
  const cwd = await workspace();
  const login = ["--token", "t0ken", "--as", "eve", "--as-group", "a", "--as-group", "b"];
  const shown = await program(["cert", ...flags, ...login], { cwd });
  expect(shown).toMatchObject({ code: 0, stdout: certificatePem });
  expect(requests).toEqual([`GET ${service}/sealed-secrets-controller`, `GET ${proxy}/cert.pem`]);
  expect(logins[1]).toEqual(["Bearer t0ken", "eve", "a, b"]);
});

test("reseal takes the items from the controller's answer, and nothing else", async () => {
  const { flags } = await apiServer((path, body) => {
    if (!path.startsWith(proxy)) return asUsual;
    const { metadata } = JSON.parse(body) as { metadata: object };
    return {
      status: 200,
      body: JSON.stringify({ metadata, spec: { template: {}, encryptedData: { a: "AgNew" } } }),
    };
  });
  const cwd = await workspace({ "sealed.yaml": sealedYaml });
  const done = await program(["reseal", "sealed.yaml", ...flags], { cwd });
  expect(done).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(readFileSync(join(cwd, "sealed.yaml"), "utf8")).toBe(sealedYaml.replace("AgOld", "AgNew"));
});

test.each([
  ["adds an item", { a: "AgNew", url: `AgRendered${canary}` }, "adds or drops items \\(url\\)"],
  ["drops an item", {}, "adds or drops items \\(a\\)"],
  ["breaks an item", { a: 1 }, "adds or drops items \\(a\\)"],
])("an answer that %s is refused, and the file stays", async (_, encryptedData, words) => {
  const { flags } = await apiServer((path) =>
    path.startsWith(proxy) ? { status: 200, body: JSON.stringify({ spec: { encryptedData } }) } : asUsual,
  );
  const cwd = await workspace({ "sealed.yaml": sealedYaml });
  const refused = await program(["reseal", "sealed.yaml", ...flags], { cwd });
  expect(refused).toMatchObject({ code: 6, stdout: "" });
  expect(refused.stderr).toMatch(new RegExp(words));
  expect(refused.stderr).not.toContain(canary);
  expect(readFileSync(join(cwd, "sealed.yaml"), "utf8")).toBe(sealedYaml);
});

const statuses: [string, (path: string) => ReturnType<Answer>, RegExp, number][] = [
  [
    "no Service",
    () => ({ status: 404, body: canary }),
    /services "sealed-secrets-controller" not found\nhint: .*--controller-name/,
    6,
  ],
  ["no rights", () => ({ status: 403, body: canary }), /error\[Forbidden\].*forbidden/, 6],
  ["no login", () => ({ status: 401, body: canary }), /error\[Forbidden\]/, 6],
  [
    "no controller behind it",
    (path) => (path.startsWith(proxy) ? { status: 503, body: canary } : asUsual),
    /no controller answers \(503\)/,
    6,
  ],
  [
    "a defect behind it",
    (path) => (path.startsWith(proxy) ? { status: 500, body: canary } : asUsual),
    /the server answered 500/,
    6,
  ],
  ["a Service that is not JSON", () => ({ status: 200, body: canary }), /not a JSON object/, 6],
  [
    "409",
    (path) => (path.startsWith(proxy) ? { status: 409, body: canary } : asUsual),
    /error\[CannotUnseal\]: sealed.yaml: unable to decrypt sealed secret: db/,
    4,
  ],
];

test.each(statuses)("verify says what is wrong: %s", async (_, answer, words, code) => {
  const { flags } = await apiServer(answer);
  const cwd = await workspace({ "sealed.yaml": sealedYaml });
  const before = contents(cwd);
  const failed = await program(["verify", "sealed.yaml", ...flags], { cwd });
  expect(failed.stderr).toMatch(words);
  expect(failed).toMatchObject({ code, stdout: "" });
  expect(failed.stderr).not.toContain(canary);
  expect(contents(cwd)).toEqual(before);
});

test("a limited controller is asked again when it says so", async () => {
  let limited = 2;
  const { flags, requests } = await apiServer((path) => {
    if (!path.startsWith(proxy)) return asUsual;
    return limited-- > 0 ? { status: 429, headers: { "retry-after": "1" } } : { status: 200 };
  });
  const cwd = await workspace({ "sealed.yaml": sealedYaml });
  expect(await program(["verify", "sealed.yaml", ...flags], { cwd })).toEqual({
    code: 0,
    stdout: "",
    stderr: "",
  });
  expect(requests.filter((request) => request === `POST ${proxy}/verify`)).toHaveLength(3);
});

test("kubeseal --validate and --re-encrypt do the same", async () => {
  const { flags } = await apiServer((path) => {
    if (path.endsWith("/verify")) return { status: 409 };
    if (path.endsWith("/rotate")) return { status: 200, body: '{"spec": {"encryptedData": {"a": "AgNew"}}}' };
    return asUsual;
  });
  const cwd = await workspace({ "sealed.yaml": sealedYaml, "kept.json": "{}" });
  const invalid = await program(["--validate", "-f", "sealed.yaml", "-w", "kept.json", ...flags], {
    cwd,
    as: "kubeseal",
  });
  expect(invalid).toMatchObject({ code: 1, stdout: "" });
  expect(invalid.stderr).toMatch(/^error: sealed.yaml: unable to decrypt sealed secret: db\n/);
  expect(readFileSync(join(cwd, "kept.json"), "utf8")).toBe("{}");
  const rotated = await program(["--re-encrypt", "-f", "sealed.yaml", ...flags], { cwd, as: "kubeseal" });
  expect(rotated).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(readFileSync(join(cwd, "sealed.yaml"), "utf8")).toBe(sealedYaml.replace("AgOld", "AgNew"));
  const piped = await program(["--rotate", "-o", "yaml", ...flags], {
    cwd,
    as: "kubeseal",
    stdin: sealedYaml,
  });
  expect(piped.stderr).toBe("Flag --rotate has been deprecated, use --re-encrypt instead\n");
  expect(piped.stdout).toContain("a: AgNew");
  expect(piped.stdout).toMatch(/^---\napiVersion/);
});

test("a kubeconfig with a login plugin, and one that names another context", async () => {
  const { certificatePem } = await keyPair();
  const tokens: (string | undefined)[] = [];
  const { flags } = await apiServer((path, _, { headers }) => {
    tokens.push(headers.authorization);
    return path.startsWith(proxy) ? { status: 200, body: certificatePem } : asUsual;
  });
  const cwd = await workspace();
  const credential = {
    apiVersion: "client.authentication.k8s.io/v1",
    kind: "ExecCredential",
    status: { token: "from-plugin" },
  };
  writeFileSync(join(cwd, "credential.json"), JSON.stringify(credential));
  const exec = {
    apiVersion: "client.authentication.k8s.io/v1",
    command: "cat",
    args: [join(cwd, "credential.json")],
  };
  writeFileSync(
    join(cwd, "kubeconfig"),
    JSON.stringify({
      "current-context": "gone",
      clusters: [{ name: "c", cluster: { server: flags[1] } }],
      users: [{ name: "u", user: { exec } }],
      contexts: [{ name: "here", context: { cluster: "c", user: "u" } }],
    }),
  );
  const env = { KUBECONFIG: join(cwd, "kubeconfig") };
  expect(await program(["cert", "--context", "here"], { cwd, env })).toMatchObject({
    code: 0,
    stdout: certificatePem,
  });
  expect(tokens).toEqual(["Bearer from-plugin", "Bearer from-plugin"]);
  const missing = await program(["cert", "--context", "nowhere"], { cwd, env });
  expect(missing).toMatchObject({ code: 3, stdout: "" });
  expect(missing.stderr).toContain("the kubeconfig has no context nowhere");
});
