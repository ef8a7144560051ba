import { issueKey, type IssuedKey } from "../../formats/issue-key.ts";
import { readManifests, type Manifest } from "../../formats/manifest.ts";
import { parseCertificate, type SealingCertificate } from "../../formats/sealing-certificate.ts";
import { parsePrivateKey, type SealingKey } from "../../formats/sealing-key.ts";
import { parseSecret, type Metadata, type Secret } from "../../formats/secret.ts";
import { SecretError } from "../../formats/errors.ts";

/** A sealing key, its certificate, and the PEM texts of both. */
export interface KeyPair extends IssuedKey {
  key: SealingKey;
  certificate: SealingCertificate;
}

/** Issues a key pair; 2048 bits and valid for a day around now unless told otherwise. */
export async function newKeyPair({ bits = 2048, notBefore = hoursFromNow(-12), ttlSeconds = 86_400 } = {}) {
  const issued = await issueKey({ bits, commonName: "", notBefore, ttlSeconds });
  return {
    ...issued,
    key: await parsePrivateKey(issued.privateKeyPem),
    certificate: parseCertificate(issued.certificatePem),
  } satisfies KeyPair;
}

export function hoursFromNow(hours: number): Date {
  return new Date(Date.now() + hours * 3_600_000);
}

/** The one manifest of a text or an object. */
export function manifestOf(source: string | object): Manifest {
  const text = typeof source === "string" ? source : JSON.stringify(source);
  const manifests = readManifests(Buffer.from(text));
  if (manifests.length !== 1) throw new Error(`expected one manifest, found ${manifests.length}`);
  return manifests[0]!;
}

/** A Secret as a manifest gives it. */
export function secretOf(fields: {
  metadata?: Metadata;
  data?: object;
  stringData?: object;
  [k: string]: unknown;
}): Secret {
  return parseSecret(manifestOf({ apiVersion: "v1", kind: "Secret", ...fields }));
}

/** The code, message and hint of the SecretError that an act ends with. */
export async function failureOf(
  act: () => unknown,
): Promise<{ code: string; message: string; hint: string }> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof SecretError)) throw error;
    return { code: error.code, message: error.message, hint: error.hint ?? "" };
  }
  throw new Error("it succeeded");
}
