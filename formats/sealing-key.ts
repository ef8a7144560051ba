import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { decodeBase64 } from "./base64.ts";
import { SecretError } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { importUnwrappingKey, type UnwrappingKey } from "./hybrid.ts";
import { isObject, readManifests, type Manifest } from "./manifest.ts";

/** A cluster's sealing key: what opens sealed items. */
export interface SealingKey {
  /** As in {@link SealingCertificate}. */
  fingerprint: string;
  privateKey: UnwrappingKey;
}

const keyBlocks = /-----BEGIN (?:RSA )?PRIVATE KEY-----[^-]+-----END (?:RSA )?PRIVATE KEY-----/g;

/**
 * Reads one private key.
 * @param pem PKCS#1 or PKCS#8, unencrypted RSA
 * @throws SecretError `InvalidKey`
 */
export async function parsePrivateKey(pem: string): Promise<SealingKey> {
  const key = readPrivateKey(pem);
  const der = key.export({ type: "pkcs8", format: "der" });
  try {
    return { fingerprint: fingerprintOf(createPublicKey(key)), privateKey: await importUnwrappingKey(der) };
  } finally {
    der.fill(0);
  }
}

function readPrivateKey(pem: string): KeyObject {
  const hint = "expected an unencrypted RSA key in PEM, PKCS#1 or PKCS#8";
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new SecretError("InvalidKey", "the private key cannot be read", { cause, hint });
  }
  if (key.asymmetricKeyType === "rsa") return key;
  throw new SecretError(
    "InvalidKey",
    `the private key is ${key.asymmetricKeyType ?? "of no known type"}, not RSA`,
    { hint },
  );
}

/**
 * Reads all private keys of a file: PEM blocks, or key Secrets (one, several, or a List) with their key under `tls.key`.
 * @throws SecretError `InvalidKey` where the file holds no key
 */
export async function readKeyFile(bytes: Uint8Array): Promise<SealingKey[]> {
  const text = Buffer.from(bytes).toString("utf8");
  // In a manifest a PEM text is indented; before the first block of a PEM file anything may stand.
  const pems = /^-----BEGIN /m.test(text) ? [text] : keySecrets(bytes);
  const blocks = pems.flatMap((pem) => pem.match(keyBlocks) ?? []);
  if (blocks.length === 0) {
    throw new SecretError("InvalidKey", "the file holds no private key", {
      hint: "expected PEM, or the key Secrets as `kubectl get secret -l sealedsecrets.bitnami.com/sealed-secrets-key -o yaml` gives them",
    });
  }
  return Promise.all(blocks.map(parsePrivateKey));
}

function keySecrets(bytes: Uint8Array): string[] {
  const manifests = readManifests(bytes).flatMap(listed);
  return manifests.map((manifest) => {
    const { data } = manifest.object;
    const encoded = isObject(data) ? data["tls.key"] : undefined;
    const decoded = typeof encoded === "string" ? decodeBase64(encoded) : undefined;
    if (decoded !== undefined) return Buffer.from(decoded).toString("latin1");
    throw new SecretError(
      "InvalidKey",
      `${manifest.place} has no private key: secret must contain a 'tls.key' entry`,
      {
        hint: "give the controller's key Secrets, or PEM files",
      },
    );
  });
}

/** A backup that a Go program wrote may say of nothing what kind it is: a list is then told by its items. */
function listed({ object, place }: Manifest): Manifest[] {
  const { kind, items } = object;
  if (kind !== undefined || !Array.isArray(items)) return [{ object, place }];
  return items.map((item: unknown, index) => {
    return { object: isObject(item) ? item : {}, place: `item ${index + 1} in ${place}` };
  });
}
