import { createPrivateKey, X509Certificate } from "node:crypto";
import { expect, test } from "vitest";
import { issueKey } from "../../formats/issue-key.ts";
import { parseCertificate } from "../../formats/sealing-certificate.ts";
import { parsePrivateKey } from "../../formats/sealing-key.ts";

const notBefore = new Date("2026-03-01T10:20:30Z");

/** The element at an offset of a DER text: its tag, and where its content stands. */
function element(der: Buffer, at: number): { tag: number; start: number; end: number } {
  const short = der[at + 1]!;
  const lengthBytes = short < 0x80 ? 0 : short & 0x7f;
  const length = lengthBytes === 0 ? short : der.readUIntBE(at + 2, lengthBytes);
  const start = at + 2 + lengthBytes;
  return { tag: der[at]!, start, end: start + length };
}

function serialOf(certificatePem: string): Buffer {
  const der = new X509Certificate(certificatePem).raw;
  const body = element(der, element(der, 0).start);
  const version = element(der, body.start);
  const serial = element(der, version.end);
  expect(serial.tag).toBe(0x02);
  return der.subarray(serial.start, serial.end);
}

test("a certificate as the controller's: dates, key, extensions, signature", async () => {
  const issued = await issueKey({
    bits: 2048,
    commonName: "seal.example",
    notBefore,
    ttlSeconds: 87_600 * 3600,
  });
  expect(issued.privateKeyPem).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n/);
  expect(issued.certificatePem).toMatch(/^-----BEGIN CERTIFICATE-----\n[^\r]+-----END CERTIFICATE-----\n$/);
  const x509 = new X509Certificate(issued.certificatePem);
  expect(x509.subject).toBe("CN=seal.example");
  expect(x509.issuer).toBe(x509.subject);
  expect(x509.verify(x509.publicKey)).toBe(true);
  expect(x509.checkPrivateKey(createPrivateKey(issued.privateKeyPem))).toBe(true);
  const hex = x509.raw.toString("hex");
  const critical = "0101ff";
  expect(hex, "keyUsage: critical, encipherOnly alone").toContain(`0603551d0f${critical}040403020001`);
  expect(hex, "basicConstraints: critical, CA").toContain(`0603551d13${critical}040530030101ff`);
  expect(hex.match(/0603551d/g), "no further extensions").toHaveLength(2);
  const certificate = parseCertificate(issued.certificatePem);
  expect(certificate).toMatchObject({ bits: 2048, notBefore, notAfter: new Date("2036-02-27T10:20:30Z") });
  expect(certificate.fingerprint).toBe((await parsePrivateKey(issued.privateKeyPem)).fingerprint);
});

test("the common name may be empty", async () => {
  const { certificatePem } = await issueKey({ bits: 1024, commonName: "", notBefore, ttlSeconds: 60 });
  expect(new X509Certificate(certificatePem).subject).toBeUndefined();
});

test("serials are random, positive and minimal in DER, which Go insists on", async () => {
  const serials: string[] = [];
  for (let round = 0; round < 25; round += 1) {
    const issued = await Promise.all(
      Array.from({ length: 8 }, () => issueKey({ bits: 512, commonName: "", notBefore, ttlSeconds: 60 })),
    );
    for (const { certificatePem } of issued) {
      const serial = serialOf(certificatePem);
      expect(serial).toHaveLength(16);
      expect(serial[0]).toBeGreaterThan(0);
      expect(serial[0]).toBeLessThan(0x80);
      serials.push(serial.toString("hex"));
    }
  }
  expect(new Set(serials).size).toBe(200);
});
