import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { holds } from "../seed.ts";
import { contents, program, workspace, type Result } from "./program.ts";

const seal = ["seal", "in", "--cert", "cert.pem", "-w", "sealed.json"];

/** Seals a manifest and opens it again. */
async function roundTrip(
  input: string | Uint8Array,
): Promise<{ sealed: Result; data: Record<string, string> }> {
  const cwd = await workspace({ in: input });
  const sealed = await program(seal, { cwd });
  if (sealed.code !== 0) return { sealed, data: {} };
  const opened = await program(["unseal", "sealed.json", "--private-key", "key.pem"], { cwd });
  const { data } = JSON.parse(opened.stdout) as { data: Record<string, string> };
  return { sealed, data };
}

const metadata = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: prod}\n";

test("T30: every byte comes through: NUL, CRLF, no line end, not UTF-8, empty, large", async () => {
  const values: Record<string, Buffer> = {
    nul: Buffer.from([0, 1, 0, 255]),
    crlf: Buffer.from("a\r\nb\r\n"),
    bare: Buffer.from("no line end"),
    latin: Buffer.from([0xe9, 0xff, 0xfe, 0xc0]),
    empty: Buffer.alloc(0),
    bom: Buffer.from("\ufeffvalue"),
    large: Buffer.alloc(900_000, "x"),
  };
  const encoded = Object.entries(values).map(([name, value]) => [name, value.toString("base64")]);
  const object = { apiVersion: "v1", kind: "Secret", metadata: { name: "db", namespace: "prod" } };
  const { sealed, data } = await roundTrip(JSON.stringify({ ...object, data: Object.fromEntries(encoded) }));
  expect(sealed).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(data).toEqual(Object.fromEntries(encoded));
});

test("T30: a raw value is sealed byte for byte, from stdin and from a file", async () => {
  const bytes = Buffer.from([0, 13, 10, 0xff, 0xfe, 10]);
  const cwd = await workspace({ value: bytes });
  const raw = ["seal", "--raw", "--name", "db", "--namespace", "prod", "--cert", "cert.pem"];
  for (const how of [
    program(raw, { cwd, stdin: bytes }),
    program([...raw, "--from-file", "k=value"], { cwd }),
  ]) {
    const { stdout: item } = await how;
    const object = { apiVersion: "bitnami.com/v1alpha1", kind: "SealedSecret" };
    writeFileSync(
      join(cwd, "sealed.json"),
      JSON.stringify({
        ...object,
        metadata: { name: "db", namespace: "prod" },
        spec: { encryptedData: { item } },
      }),
    );
    const opened = await program(["unseal", "sealed.json", "--private-key", "key.pem"], { cwd });
    expect(JSON.parse(opened.stdout)).toMatchObject({ data: { item: bytes.toString("base64") } });
  }
});

test("T30: numbers and dates keep their digits; what YAML would change is refused", async () => {
  const kept = {
    big: "12345678901234567890",
    date: "2026-11-23",
    port: "5432",
    version: "1.10",
    zip: "00501",
  };
  for (const [name, text] of Object.entries(kept)) {
    const { sealed, data } = await roundTrip(`${metadata}stringData:\n  ${name}: ${text}\n`);
    if (sealed.code === 0) expect(Buffer.from(data[name] ?? "", "base64").toString()).toBe(text);
    else expect(sealed.stderr).toContain(`stringData.${name} in document 1 is not a string`);
  }
  for (const text of ["yes", "0o17", "1e3", "~true", "true"].filter((word) => !word.startsWith("~"))) {
    const { sealed, data } = await roundTrip(`${metadata}stringData:\n  a: ${text}\n`);
    if (sealed.code === 0) expect(Buffer.from(data["a"] ?? "", "base64").toString()).toBe(text);
    else expect(sealed).toMatchObject({ code: 3 });
  }
}, 60_000);

test("T30: a byte order mark and CRLF line ends of a manifest are read, and kept by an edit in place", async () => {
  const crlf = (text: string): string => text.replaceAll("\n", "\r\n");
  const target = crlf(
    "\ufeff# ours\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: db\n  namespace: prod\nspec:\n  encryptedData:\n    a: AgA=\n  template: {}\n",
  );
  const cwd = await workspace({
    in: crlf(`\ufeff${metadata}stringData:\n  b: one\n`),
    "target.yaml": target,
  });
  const merged = await program(["seal", "in", "--cert", "cert.pem", "--merge-into", "target.yaml"], { cwd });
  expect(merged).toEqual({ code: 0, stdout: "", stderr: "" });
  const after = readFileSync(join(cwd, "target.yaml"), "utf8");
  expect(after.replace(/ {4}b: \S+\r\n/, "")).toBe(target);
  expect(after.replaceAll("\r\n", "")).not.toContain("\n");
});

test("T30: input that is not UTF-8 is refused", async () => {
  const { sealed } = await roundTrip(
    Buffer.concat([Buffer.from(`${metadata}stringData:\n  a: `), Buffer.from([0xe9, 10])]),
  );
  expect(sealed).toMatchObject({ code: 3, stdout: "" });
  expect(sealed.stderr).toContain("not valid UTF-8");
});

test("T71: keys that pollute prototypes are plain keys, sealed and merged", async () => {
  const names = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"];
  const json = `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "prod", "labels": {"__proto__": "x"}},
    "stringData": {${names.map((name) => `"${name}": "value of ${name}"`).join(", ")}}}`;
  const yaml = `${metadata}stringData:\n${names.map((name) => `  ${name}: value of ${name}\n`).join("")}`;
  for (const input of [json, yaml]) {
    const cwd = await workspace({
      in: input,
      "target.yaml":
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: prod}\nspec:\n  encryptedData:\n",
      "target.json": `{"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": {"name": "db", "namespace": "prod"}, "spec": {"encryptedData": {}}}`,
    });
    const outputs = [
      ["-w", "sealed.json"],
      ["--merge-into", "target.yaml"],
      ["--merge-into", "target.json"],
    ];
    for (const output of outputs) {
      const sealed = await program(["seal", "in", "--cert", "cert.pem", ...output], { cwd });
      expect(sealed).toEqual({ code: 0, stdout: "", stderr: "" });
      const opened = await program(["unseal", output[1]!, "--private-key", "key.pem"], { cwd });
      const { data } = JSON.parse(opened.stdout) as { data: object };
      const found = Object.entries(data).map(([name, value]) => [
        name,
        Buffer.from(String(value), "base64").toString(),
      ]);
      expect(found).toEqual([...names].sort().map((name) => [name, `value of ${name}`]));
    }
  }
}, 60_000);

test("T71: a polluting kubeconfig, pin file or certificate path changes nothing", async () => {
  const kubeconfig = `{"__proto__": {"cert": "cert.pem"}, "current-context": "__proto__", "contexts": [{"name": "__proto__", "context": {"__proto__": {"namespace": "polluted"}}}]}`;
  const cwd = await workspace({
    in: `apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {a: b}\n`,
    kubeconfig,
  });
  const sealed = await program([...seal, "--kubeconfig", "kubeconfig"], { cwd });
  expect(sealed).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(readFileSync(join(cwd, "sealed.json"), "utf8")).toContain('"namespace": "default"');
  const refused = await program(["seal", "in", "--kubeconfig", "kubeconfig"], { cwd });
  expect(refused.code).toBe(3);
});

test("any input ends in success or in one clear error, and never writes on failure", async () => {
  const piece = fc.oneof(
    fc.constantFrom(
      "apiVersion: v1\n",
      "kind: Secret\n",
      "metadata: {name: a, namespace: b}\n",
      "stringData: {a: b}\n",
    ),
    fc.constantFrom(
      "---\n",
      "- ",
      "&a ",
      "*a",
      "{",
      "}",
      "!!binary ",
      "\t",
      '"',
      "a: ",
      "|\n",
      "\r\n",
      "data: {a: YQ==}\n",
    ),
    fc.string({ maxLength: 8 }),
  );
  await holds(
    fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
      const cwd = await workspace({ in: pieces.join("") });
      const before = contents(cwd);
      const { code, stdout, stderr } = await program(seal, { cwd });
      expect(stdout).toBe("");
      if (code === 0) {
        expect(stderr).toBe("");
        return;
      }
      expect([2, 3]).toContain(code);
      expect(stderr).toMatch(/^sealwright: error\[\w+\]: .*\n(hint: .*\n)?$/);
      expect(contents(cwd)).toEqual(before);
    }),
    { runs: 25, processes: true },
  );
}, 120_000);
