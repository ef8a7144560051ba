import { generateKeyPair, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import forge from "node-forge";

/** What a server on loopback needs, and what its clients trust. */
export interface Identity {
  caPem: string;
  certificatePem: string;
  keyPem: string;
  /** The bearer token. */
  token: string;
}

const generate = promisify(generateKeyPair);
const yearMs = 365 * 24 * 3_600_000;

interface KeyPem {
  publicKey: string;
  privateKey: string;
}

function rsaKey(): Promise<KeyPem> {
  return generate("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs1", format: "pem" },
  });
}

interface Issue {
  commonName: string;
  key: KeyPem;
  issuer: { commonName: string; key: KeyPem };
  extensions: object[];
  now: Date;
}

function certificate({ commonName, key, issuer, extensions, now }: Issue): string {
  const made = forge.pki.createCertificate();
  made.publicKey = forge.pki.publicKeyFromPem(key.publicKey);
  made.serialNumber = `01${randomBytes(15).toString("hex")}`;
  made.validity.notBefore = new Date(now.getTime() - 3_600_000);
  made.validity.notAfter = new Date(now.getTime() + 10 * yearMs);
  made.setSubject([{ name: "commonName", value: commonName }]);
  made.setIssuer([{ name: "commonName", value: issuer.commonName }]);
  made.setExtensions(extensions);
  made.sign(forge.pki.privateKeyFromPem(issuer.key.privateKey), forge.md.sha256.create());
  return forge.pki.certificateToPem(made);
}

const caExtensions = [
  { name: "basicConstraints", cA: true, critical: true },
  { name: "keyUsage", keyCertSign: true, digitalSignature: true, critical: true },
  { name: "subjectKeyIdentifier" },
];
const serverExtensions = [
  { name: "basicConstraints", cA: false, critical: true },
  { name: "keyUsage", digitalSignature: true, keyEncipherment: true, critical: true },
  { name: "extKeyUsage", serverAuth: true },
  {
    name: "subjectAltName",
    altNames: [
      { type: 7, ip: "127.0.0.1" },
      { type: 2, value: "localhost" },
      { type: 2, value: "kubernetes.default.svc" },
    ],
  },
];

/** A certificate authority of its own, a server certificate for 127.0.0.1 and a random token of 256 bits. */
export async function createIdentity(now: Date): Promise<Identity> {
  const [caKey, key] = await Promise.all([rsaKey(), rsaKey()]);
  const issuer = { commonName: "sealwright-embedded-ca", key: caKey };
  return {
    caPem: certificate({ ...issuer, issuer, extensions: caExtensions, now }),
    certificatePem: certificate({ commonName: "kubernetes", key, issuer, extensions: serverExtensions, now }),
    keyPem: key.privateKey,
    token: randomBytes(32).toString("base64url"),
  };
}
