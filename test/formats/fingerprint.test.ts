import { readFileSync } from "node:fs";
import { X509Certificate } from "node:crypto";
import { expect, test } from "vitest";
import { fingerprintOf } from "../../formats/fingerprint.ts";

interface CertificateVectors {
  rsa: { bits: number; exponent: number; fingerprint: string; certificate: string }[];
}
const { rsa } = JSON.parse(readFileSync("test/vectors/certificates.json", "utf8")) as CertificateVectors;

test.each(rsa)("$bits bits, exponent $exponent: the fingerprint that ssh-keygen prints", (vector) => {
  expect(fingerprintOf(new X509Certificate(vector.certificate).publicKey)).toBe(vector.fingerprint);
});
