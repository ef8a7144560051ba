import { X509Certificate, type KeyObject } from "node:crypto";
import { SecretError } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import type { WrappingKey } from "./hybrid.ts";

/** The public half of a cluster's sealing key, as its certificate gives it. */
export interface SealingCertificate {
  /** The PEM block, with a line end. */
  pem: string;
  /** OpenSSH fingerprint of the public key: `SHA256:` and unpadded base64, as `ssh-keygen -l` prints it. */
  fingerprint: string;
  /** Modulus length in bits. */
  bits: number;
  notBefore: Date;
  notAfter: Date;
  publicKey: WrappingKey;
}

const certificateBlock = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/;
const minimumBits = 2048;
/** A laptop's clock may trail the cluster's that has just issued the certificate. */
const clockSkewMs = 60 * 60 * 1000;

/**
 * Reads the first certificate of a PEM text.
 * @throws SecretError `InvalidCertificate` where there is none, it does not parse, or its key is not RSA
 */
export function parseCertificate(pem: string): SealingCertificate {
  const block = certificateBlock.exec(pem)?.[0];
  if (block === undefined) {
    throw new SecretError("InvalidCertificate", "data does not contain any valid RSA or ECDSA certificates", {
      hint: "expected a PEM certificate, as `sealwright cert` prints it",
    });
  }
  const { certificate, publicKey } = readCertificate(block);
  if (publicKey.asymmetricKeyType !== "rsa") {
    throw new SecretError(
      "InvalidCertificate",
      `expected RSA public key but found ${publicKey.asymmetricKeyType ?? "none"}`,
      {
        hint: "a sealing certificate holds an RSA key; fetch the controller's with `sealwright cert`",
      },
    );
  }
  return {
    pem: `${block}\n`,
    fingerprint: fingerprintOf(publicKey),
    bits: publicKey.asymmetricKeyDetails?.modulusLength ?? 0,
    notBefore: new Date(certificate.validFrom),
    notAfter: new Date(certificate.validTo),
    publicKey,
  };
}

function readCertificate(block: string): { certificate: X509Certificate; publicKey: KeyObject } {
  try {
    const certificate = new X509Certificate(block);
    return { certificate, publicKey: certificate.publicKey };
  } catch (cause) {
    throw new SecretError("InvalidCertificate", "the certificate cannot be read", {
      cause,
      hint: "fetch it again with `sealwright cert`",
    });
  }
}

/**
 * Refuses a certificate that must not seal at `now`: expired, not yet valid, or with a key under 2048 bits.
 * @throws SecretError `InvalidCertificate`
 */
export function requireUsable(certificate: SealingCertificate, now: Date): void {
  const refuse = (message: string): never => {
    throw new SecretError("InvalidCertificate", message, {
      hint: "fetch the controller's newest certificate with `sealwright cert`",
    });
  };
  if (certificate.notAfter < now) {
    refuse(`failed to encrypt using an expired certificate on ${longDate(certificate.notAfter)}`);
  }
  if (certificate.notBefore.getTime() > now.getTime() + clockSkewMs) {
    refuse(`the certificate is not valid before ${longDate(certificate.notBefore)}`);
  }
  if (certificate.bits < minimumBits) {
    refuse(`the certificate's key has ${certificate.bits} bits; at least ${minimumBits} are needed`);
  }
}

function longDate(date: Date): string {
  return date.toLocaleDateString("en-US", {
    year: "numeric",
    month: "long",
    day: "numeric",
    timeZone: "UTC",
  });
}
