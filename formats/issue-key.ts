import { generateKeyPair, randomBytes, sign, type KeyObject } from "node:crypto";
import { promisify } from "node:util";

/** PEM text of a new key pair and its certificate, as stored in a key Secret. */
export interface IssuedKey {
  /** PKCS#1, `RSA PRIVATE KEY`. */
  privateKeyPem: string;
  certificatePem: string;
}

/**
 * Generates a key pair and its self-signed certificate, as the Sealed Secrets controller does: SHA256-RSA, random 128-bit
 * serial, critical keyUsage encipherOnly, critical basicConstraints CA.
 * @param options `bits` of the modulus; `commonName` of subject and issuer, may be empty; validity from `notBefore`, `ttlSeconds` long
 */
export async function issueKey(options: {
  bits: number;
  commonName: string;
  notBefore: Date;
  ttlSeconds: number;
}): Promise<IssuedKey> {
  const pair = await promisify(generateKeyPair)("rsa", { modulusLength: options.bits });
  const privateKeyPem = pair.privateKey.export({ type: "pkcs1", format: "pem" }).toString();
  return { privateKeyPem, certificatePem: await selfSign(pair, options) };
}

async function selfSign(
  pair: { publicKey: KeyObject; privateKey: KeyObject },
  options: { commonName: string; notBefore: Date; ttlSeconds: number },
): Promise<string> {
  const { default: forge } = await import("node-forge");
  const { asn1 } = forge;
  const pki = forge.pki as typeof forge.pki & {
    getTBSCertificate: (of: unknown) => ReturnType<typeof asn1.create>;
  };
  const certificate = pki.createCertificate();
  certificate.publicKey = pki.publicKeyFromPem(
    pair.publicKey.export({ type: "spki", format: "pem" }).toString(),
  );
  certificate.serialNumber = randomSerial();
  certificate.validity.notBefore = options.notBefore;
  certificate.validity.notAfter = new Date(options.notBefore.getTime() + options.ttlSeconds * 1000);
  const name = options.commonName === "" ? [] : [{ name: "commonName", value: options.commonName }];
  certificate.setSubject(name);
  certificate.setIssuer(name);
  certificate.setExtensions([
    { name: "keyUsage", critical: true, encipherOnly: true },
    { name: "basicConstraints", critical: true, cA: true },
  ]);
  // node:crypto signs on the thread pool; forge's own RSA would block the event loop for a 4096-bit key.
  const algorithm = pki.oids["sha256WithRSAEncryption"] ?? "";
  const unsigned = certificate as unknown as Record<"signatureOid" | "tbsCertificate", unknown> & {
    siginfo: { algorithmOid: string };
  };
  unsigned.signatureOid = algorithm;
  unsigned.siginfo.algorithmOid = algorithm;
  const body = pki.getTBSCertificate(certificate);
  unsigned.tbsCertificate = body;
  const signature = await promisify(sign)(
    "sha256",
    Buffer.from(asn1.toDer(body).getBytes(), "latin1"),
    pair.privateKey,
  );
  certificate.signature = signature.toString("latin1");
  return pki.certificateToPem(certificate).replaceAll("\r\n", "\n");
}

/** 16 random bytes whose first one is 1 to 127: positive, and minimal in DER, which Go's parser insists on. */
function randomSerial(): string {
  const serial = randomBytes(16);
  serial[0] = (serial[0] ?? 0) & 0x7f || 1;
  return serial.toString("hex");
}
