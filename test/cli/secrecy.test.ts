import { expect, test } from "vitest";
import { contents, keyPair, program, secretYaml, workspace } from "./program.ts";
import { newKeyPair } from "../formats/sealing.ts";
import { sealItem } from "../../formats/seal.ts";

const canary = "canary-7f3a9c-hunter2";
const base64 = Buffer.from(canary).toString("base64");
const seal = ["seal", "input", "--cert", "cert.pem", "-w", "out.yaml"];
const secret = (fields: string): string =>
  `apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: prod}\n${fields}`;

/** Inputs that end in an error, each with the canary where the error might quote it. */
const broken: Record<string, { input: string | Uint8Array; args?: string[] }> = {
  "broken YAML": { input: secret(`stringData: {password: ${canary}\n`) },
  "a broken quote": { input: secret(`stringData:\n  password: "${canary}\n`) },
  "a bad escape": { input: secret(`stringData:\n  password: "\\q${canary}"\n`) },
  "a bad indent": { input: secret(`stringData:\n  password: a\n ${canary}\n`) },
  "a tab": { input: secret(`stringData:\n\tpassword: ${canary}\n`) },
  "an unknown alias": { input: secret(`stringData:\n  password: *${canary}\n`) },
  "a repeated key": { input: secret(`stringData:\n  password: ${canary}\n  password: ${canary}\n`) },
  "broken JSON": { input: `{"kind": "Secret", "stringData": {"password": "${canary}"` },
  "JSON with a tail": { input: `{"kind": "Secret"} ${canary}` },
  "a JSON escape": { input: `{"kind": "Secret", "stringData": {"password": "\\u00zz${canary}"}}` },
  "broken base64": { input: secret(`data:\n  password: "${canary}"\n`) },
  "a value of another type": { input: secret(`stringData:\n  password: [${canary}]\n`) },
  "data that is no map": { input: secret(`data: ${canary}\n`) },
  "a scalar document": { input: canary },
  "bytes that are not UTF-8": { input: Buffer.concat([Buffer.from(canary), Buffer.from([0xff, 0xfe])]) },
  "a ConfigMap": { input: secret(`data:\n  password: ${base64}\n`).replace("Secret", "ConfigMap") },
  "no name": { input: secret(`stringData: {password: ${canary}}`).replace("name: db, ", "") },
  "another namespace": { input: secret(`stringData: {password: ${canary}}`), args: [...seal, "-n", "other"] },
  "an exposed value": {
    input: secret(`stringData: {password: ${canary}}`).replace("{name", `{annotations: {a: ${canary}}, name`),
  },
  "a wrong flag": { input: "", args: ["seal", `--password-value=${canary}`] },
  "a wrong verb's flag": { input: "", args: ["unseal", `--from-literal=${canary}`] },
  "an excess word": { input: "", args: ["cert", canary] },
  "a wrong certificate": { input: canary, args: ["seal", "input", "--cert", "input"] },
  "a wrong key": { input: canary, args: ["unseal", "cert.pem", "--private-key", "input"] },
  "a key block of rubbish": {
    input: `-----BEGIN RSA PRIVATE KEY-----\n${canary}\n-----END RSA PRIVATE KEY-----\n`,
    args: ["unseal", "sealed.json", "--private-key", "input"],
  },
  "a token for a server that is not there": {
    input: secret(`stringData: {password: ${canary}}`),
    args: ["verify", "sealed.json", "--server", "http://127.0.0.1:1", "--token", canary],
  },
  "a broken kubeconfig": { input: `users: [{token: ${canary}`, args: ["cert", "--kubeconfig", "input"] },
  "a merge target that is none": {
    input: secret(`stringData: {password: ${canary}}`),
    args: ["seal", "input", "--cert", "cert.pem", "--merge-into", "input"],
  },
};

test.each(Object.keys(broken))("T70: no value in any output: %s", async (name) => {
  const { input, args = seal } = broken[name]!;
  const { certificate } = await keyPair();
  const item = sealItem(Buffer.from(canary), { scope: "cluster-wide" }, certificate);
  const sealed = {
    apiVersion: "bitnami.com/v1alpha1",
    kind: "SealedSecret",
    metadata: { name: "db" },
    spec: { encryptedData: { item } },
  };
  const cwd = await workspace({ input, "sealed.json": JSON.stringify(sealed) });
  const before = contents(cwd);
  const { code, stdout, stderr } = await program(args, { cwd });
  expect(code, stderr).toBeGreaterThan(1);
  expect(stderr).toMatch(/^sealwright: error\[\w+\]: /);
  for (const text of [stdout, stderr]) {
    expect(text).not.toContain(canary);
    expect(text).not.toContain(base64);
    expect(text).not.toMatch(/ at .*\.(ts|mjs|js):\d+/);
  }
  expect(contents(cwd), "nothing was written").toEqual(before);
});

test("T70: items that do not open are named, not shown", async () => {
  const { certificate } = await keyPair();
  const other = await newKeyPair();
  const item = sealItem(Buffer.from(canary), { scope: "strict", namespace: "prod", name: "db" }, certificate);
  const envelope = Buffer.from(item, "base64");
  envelope[envelope.length - 20]! ^= 1;
  const manifest = (encryptedData: object, namespace = "prod"): string =>
    JSON.stringify({
      ...{ apiVersion: "bitnami.com/v1alpha1", kind: "SealedSecret", metadata: { name: "db", namespace } },
      spec: { encryptedData },
    });
  const rows: [string, string, number][] = [
    ["altered.json", manifest({ good: item, bad: envelope.toString("base64") }), 5],
    ["moved.json", manifest({ good: item }, "elsewhere"), 4],
    ["base64.json", manifest({ good: item, bad: `${canary}!` }), 3],
  ];
  const files: Record<string, string> = { "other.pem": other.privateKeyPem };
  for (const [file, text] of rows) files[file] = text;
  const cwd = await workspace(files);
  for (const [file, , code] of rows) {
    for (const verb of ["unseal", "verify", "reseal"]) {
      const more = verb === "reseal" ? ["--cert", "cert.pem"] : [];
      const failed = await program([verb, file, "--private-key", "key.pem", ...more], { cwd });
      expect(failed.code, `${verb} ${file}: ${failed.stderr}`).toBe(code);
      expect(failed.stdout).toBe("");
      expect(failed.stderr).not.toContain(canary);
      expect(failed.stderr).not.toContain(item.slice(0, 40));
    }
  }
  const foreign = await program(["unseal", "moved.json", "--private-key", "other.pem"], { cwd });
  expect(foreign.code).toBe(4);
}, 60_000);

test.each([4, 8, 12, 15])("T09: a tag cut to %i bytes is refused", async (kept) => {
  const { certificate } = await keyPair();
  const target = { scope: "strict", namespace: "prod", name: "db" } as const;
  const envelope = Buffer.from(sealItem(Buffer.from(canary), target, certificate), "base64");
  const item = envelope.subarray(0, envelope.length - 16 + kept).toString("base64");
  const metadata = { name: "db", namespace: "prod" };
  const sealed = {
    apiVersion: "bitnami.com/v1alpha1",
    kind: "SealedSecret",
    metadata,
    spec: { encryptedData: { item } },
  };
  const cwd = await workspace({ "cut.json": JSON.stringify(sealed) });
  const refused = await program(["unseal", "cut.json", "--private-key", "key.pem"], { cwd });
  expect(refused).toMatchObject({ code: 5, stdout: "" });
  expect(refused.stderr).toContain("the ciphertext was changed after it was sealed (item)");
});

test("T07: an annotation that repeats a value is refused", async () => {
  const rows = {
    "annotation note": `annotations: {note: "it is hunter2-hunter2, mind"}`,
    "annotation copy": `annotations: {copy: '{"data":{"password":"${Buffer.from("hunter2-hunter2").toString("base64")}"}}'}`,
  };
  for (const [place, metadata] of Object.entries(rows)) {
    const cwd = await workspace({
      "secret.yaml": secretYaml().replace("  name: db", `  name: db\n  ${metadata}`),
    });
    const args = ["-f", "secret.yaml", "--cert", "cert.pem", "-w", "out.yaml"];
    const before = contents(cwd);
    const refused = await program(["seal", ...args], { cwd });
    expect(refused).toMatchObject({ code: 3, stdout: "" });
    expect(refused.stderr).toContain(
      `error[PlaintextExposed]: the ${place} of Secret db repeats the value of entry password`,
    );
    expect(refused.stderr).toContain(`hint: remove the ${place}`);
    expect(refused.stderr).not.toContain("hunter2");
    expect((await program(args, { cwd, as: "kubeseal" })).code).toBe(1);
    expect(contents(cwd)).toEqual(before);
    expect(await program(["seal", ...args, "--allow-exposed-values"], { cwd })).toMatchObject({
      code: 0,
      stderr: "",
    });
  }
}, 60_000);

test("T07: what sealing strips may hold values, and merging looks at the target's annotations too", async () => {
  const applied = `  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{"stringData":{"password":"hunter2-hunter2"}}'\n`;
  const cwd = await workspace({
    "secret.yaml": secretYaml({ more: applied }),
    "target.yaml": `apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata: {name: db, namespace: prod}
spec:
  encryptedData: {}
  template:
    metadata:
      annotations:
        note: was hunter2-hunter2
`,
  });
  const sealed = await program(["seal", "secret.yaml", "--cert", "cert.pem"], { cwd });
  expect(sealed).toMatchObject({ code: 0, stderr: "" });
  expect(sealed.stdout).not.toContain("hunter2");
  const merged = await program(["seal", "secret.yaml", "--cert", "cert.pem", "--merge-into", "target.yaml"], {
    cwd,
  });
  expect(merged.code).toBe(3);
  expect(merged.stderr).toContain("annotation note of Secret db repeats the value of entry password");
});
