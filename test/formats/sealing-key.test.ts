import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { parsePrivateKey, readKeyFile } from "../../formats/sealing-key.ts";
import { toJson, toYaml, type JsonObject } from "../../formats/manifest.ts";
import { failureOf, newKeyPair } from "./sealing.ts";

const [first, second] = [await newKeyPair({ bits: 1024 }), await newKeyPair({ bits: 1024 })];
const pkcs8 = createPrivateKey(first.privateKeyPem).export({ type: "pkcs8", format: "pem" }).toString();

function keySecret(pem: string, fields: JsonObject = {}): JsonObject {
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: {
      name: "sealed-secrets-keyabcde",
      labels: { "sealedsecrets.bitnami.com/sealed-secrets-key": "active" },
    },
    type: "kubernetes.io/tls",
    data: { "tls.crt": Buffer.from("x").toString("base64"), "tls.key": Buffer.from(pem).toString("base64") },
    ...fields,
  };
}

function list(...items: JsonObject[]): JsonObject {
  return { apiVersion: "v1", kind: "List", items };
}

const one = [first.key.fingerprint];
const two = [first.key.fingerprint, second.key.fingerprint];
const items = [keySecret(first.privateKeyPem), keySecret(second.privateKeyPem)];

test.each([
  ["PKCS#1", first.privateKeyPem, one],
  ["PKCS#8", pkcs8, one],
  ["PKCS#8 with Windows line ends", pkcs8.replaceAll("\n", "\r\n"), one],
  ["two PEM blocks", pkcs8 + second.privateKeyPem, two],
  ["a certificate before the key", first.certificatePem + first.privateKeyPem, one],
  ["attributes before the key", `Bag Attributes\n    friendlyName: key\n${pkcs8}`, one],
  ["a key Secret in YAML", toYaml(keySecret(pkcs8)), one],
  ["a key Secret in JSON", toJson(keySecret(first.privateKeyPem)), one],
  ["two documents", items.map(toYaml).join("---\n"), two],
  ["a List in YAML", toYaml(list(...items)), two],
  ["a List in JSON", toJson(list(...items)), two],
  [
    "a SecretList whose items have no kind",
    toJson({ ...list(...items.map((item) => ({ data: item["data"] }))), kind: "SecretList" }),
    two,
  ],
  [
    "a list that says of nothing what kind it is",
    toJson({ metadata: {}, items: items.map((item) => ({ data: item["data"] })) }),
    two,
  ],
])("reads %s", async (_what, text, fingerprints) => {
  const keys = await readKeyFile(Buffer.from(text));
  expect(keys.map(({ fingerprint }) => fingerprint)).toEqual(fingerprints);
});

const ec = generateKeyPairSync("ec", { namedCurve: "P-256" })
  .privateKey.export({ type: "pkcs8", format: "pem" })
  .toString();
const encrypted = createPrivateKey(pkcs8)
  .export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" })
  .toString();
const cut = pkcs8.replace(/(\n[^-\n]+){4}/, "");

test.each([
  ["nothing", "", "holds no private key"],
  ["only a certificate", first.certificatePem, "holds no private key"],
  ["an encrypted key", encrypted, "holds no private key"],
  ["an EC key", ec, "is ec, not RSA"],
  ["a cut key", cut, "cannot be read"],
  ["a good key and a cut one", pkcs8 + cut, "cannot be read"],
  [
    "a Secret without tls.key",
    toYaml({ ...keySecret(pkcs8), data: {} }),
    "secret must contain a 'tls.key' entry",
  ],
  [
    "a Secret whose tls.key is not base64",
    toYaml({ ...keySecret(pkcs8), data: { "tls.key": "%" } }),
    "tls.key",
  ],
  ["a Secret whose tls.key is no PEM", toYaml(keySecret("junk")), "holds no private key"],
  ["a list of no kind with something else in it", toJson({ items: [1] }), "item 1 in document 1"],
  ["one bad Secret of two", toYaml(list(items[0]!, { ...items[1], data: {} })), "item 2 of the List"],
])("T11 a key file with %s is refused", async (_what, text, message) => {
  const failure = await failureOf(() => readKeyFile(Buffer.from(text)));
  expect(failure.code).toBe("InvalidKey");
  expect(failure.message).toContain(message);
  expect(failure.hint).not.toBe("");
});

test("T11 junk in place of a key ends in a coded error that quotes none of it", async () => {
  for (const junk of [
    "canary-5bd1",
    "-----BEGIN PRIVATE KEY-----\ncanary-5bd1\n-----END PRIVATE KEY-----\n",
    "\0\0canary-5bd1",
  ]) {
    const failure = await failureOf(() => parsePrivateKey(junk));
    expect(failure.code).toBe("InvalidKey");
    expect(failure.message + failure.hint).not.toContain("canary");
    expect(["InvalidKey", "InvalidInput"]).toContain(
      (await failureOf(() => readKeyFile(Buffer.from(junk)))).code,
    );
  }
});
