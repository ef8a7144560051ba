import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseCertificate, requireUsable } from "../../formats/sealing-certificate.ts";
import { failureOf, hoursFromNow, newKeyPair } from "./sealing.ts";

interface CertificateVectors {
  rsa: { bits: number; fingerprint: string; certificate: string }[];
  ec: string;
  pss: string;
}
const vectors = JSON.parse(readFileSync("test/vectors/certificates.json", "utf8")) as CertificateVectors;
const good = vectors.rsa.find(({ bits }) => bits === 4096)!;
const now = new Date("2027-01-01T00:00:00Z");

test("reads a certificate", () => {
  const certificate = parseCertificate(`a comment\r\n${good.certificate.replaceAll("\n", "\r\n")}`);
  expect(certificate).toMatchObject({ bits: 4096, fingerprint: good.fingerprint });
  expect(certificate.pem).toMatch(/-----END CERTIFICATE-----\n$/);
  requireUsable(certificate, now);
});

test("the first of several certificates counts", () => {
  const pem = vectors.rsa
    .map(({ certificate }) => certificate)
    .reverse()
    .join("");
  expect(parseCertificate(pem).fingerprint).toBe(good.fingerprint);
});

test("T06 an expired certificate is refused, on the second", async () => {
  const notBefore = new Date("2026-03-01T10:20:30Z");
  const { certificate } = await newKeyPair({ bits: 2048, notBefore, ttlSeconds: 3600 });
  requireUsable(certificate, new Date("2026-03-01T11:20:30Z"));
  expect(await failureOf(() => requireUsable(certificate, new Date("2026-03-01T11:20:31Z")))).toMatchObject({
    code: "InvalidCertificate",
    message: "failed to encrypt using an expired certificate on March 1, 2026",
  });
});

test("T06 a certificate from the future is refused, but for an hour of clock skew", async () => {
  const near = await newKeyPair({ notBefore: hoursFromNow(0.9) });
  requireUsable(near.certificate, new Date());
  const far = await newKeyPair({ notBefore: hoursFromNow(1.1) });
  const failure = await failureOf(() => requireUsable(far.certificate, new Date()));
  expect(failure.code).toBe("InvalidCertificate");
  expect(failure.message).toContain("is not valid before");
});

test("T06 a key under 2048 bits is refused", async () => {
  const weak = parseCertificate(vectors.rsa.find(({ bits }) => bits === 1024)!.certificate);
  const failure = await failureOf(() => requireUsable(weak, now));
  expect(failure).toMatchObject({ code: "InvalidCertificate" });
  expect(failure.message).toContain("1024 bits");
});

test.each([
  ["an EC key", vectors.ec, "expected RSA public key but found ec"],
  ["an RSA-PSS key", vectors.pss, "expected RSA public key but found rsa-pss"],
  ["nothing", "", "data does not contain any valid RSA or ECDSA certificates"],
  [
    "a bare public key",
    "-----BEGIN PUBLIC KEY-----\nMII=\n-----END PUBLIC KEY-----\n",
    "data does not contain",
  ],
  ["no DER", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", "cannot be read"],
  ["no end", good.certificate.slice(0, -30), "data does not contain"],
  ["a cut body", good.certificate.replace(/(\n[^-\n]+){3}/, ""), "cannot be read"],
])("T06 a certificate with %s is refused", async (_what, pem, message) => {
  const failure = await failureOf(() => parseCertificate(pem));
  expect(failure.code).toBe("InvalidCertificate");
  expect(failure.message).toContain(message);
});
