import {
  constants,
  createCipheriv,
  createDecipheriv,
  publicEncrypt,
  randomBytes,
  webcrypto,
  type KeyObject,
} from "node:crypto";
import { SecretError } from "./errors.ts";

/**
 * The envelope of one sealed item: a fresh AES-256-GCM session key, wrapped by RSA-OAEP with SHA-256.
 *
 * Layout: `uint16 big-endian L`, `RSA ciphertext (L bytes)`, `AES-GCM ciphertext`, `16-byte tag`. The nonce is twelve zero
 * bytes, which is sound because a session key encrypts one item only. The scope is bound through the OAEP label alone.
 * @see docs/formats/sealed-secret.md, section "One item"
 */
const lengthBytes = 2;
const sessionKeyBytes = 32;
const tagBytes = 16;
const nonce = new Uint8Array(12);
const cipher = "aes-256-gcm";

const oaep = { name: "RSA-OAEP", hash: "SHA-256" } as const;

/** A public RSA key that may wrap session keys. */
export type WrappingKey = KeyObject;
/** A private RSA key that may unwrap session keys. */
export type UnwrappingKey = webcrypto.CryptoKey;

/** Imports a private key for unwrapping. @param pkcs8 DER of a PKCS#8 RSA private key; the copy made here is wiped */
export async function importUnwrappingKey(pkcs8: Uint8Array): Promise<UnwrappingKey> {
  const copy = Uint8Array.from(pkcs8);
  try {
    return await webcrypto.subtle.importKey("pkcs8", copy, oaep, false, ["decrypt"]);
  } finally {
    copy.fill(0);
  }
}

/**
 * Encrypts one item.
 * @param label OAEP label, the scope's bytes; empty for cluster-wide
 * @returns a new envelope: 2 + modulus + plaintext + 16 bytes
 */
export function encryptEnvelope(key: WrappingKey, label: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const sessionKey = randomBytes(sessionKeyBytes);
  try {
    const aes = createCipheriv(cipher, sessionKey, nonce, { authTagLength: tagBytes });
    const body = [aes.update(plaintext), aes.final(), aes.getAuthTag()];
    const wrapped = wrap(key, label, sessionKey);
    const length = Buffer.alloc(lengthBytes);
    length.writeUInt16BE(wrapped.length);
    return Buffer.concat([length, wrapped, ...body]);
  } finally {
    sessionKey.fill(0);
  }
}

/**
 * Decrypts one item.
 * @param label OAEP label, the scope's bytes; empty for cluster-wide
 * @returns the plaintext, or `undefined` where this key and label do not fit: under OAEP a wrong key and a wrong scope look
 * the same
 * @throws SecretError `Altered` where the key fits and the ciphertext behind it was changed or cut
 */
export async function decryptEnvelope(
  key: UnwrappingKey,
  label: Uint8Array,
  envelope: Uint8Array,
): Promise<Uint8Array | undefined> {
  const parts = splitEnvelope(envelope);
  if (parts === undefined) return undefined;
  const sessionKey = await unwrap(key, label, parts.wrapped);
  if (sessionKey === undefined) return undefined;
  try {
    return openBody(sessionKey, parts.body);
  } finally {
    sessionKey.fill(0);
  }
}

function splitEnvelope(envelope: Uint8Array): { wrapped: Uint8Array; body: Uint8Array } | undefined {
  if (envelope.length < lengthBytes) return undefined;
  const bodyAt = lengthBytes + new DataView(envelope.buffer, envelope.byteOffset).getUint16(0);
  if (envelope.length < bodyAt + tagBytes) return undefined;
  return { wrapped: envelope.subarray(lengthBytes, bodyAt), body: envelope.subarray(bodyAt) };
}

/** The public operation takes a fraction of a millisecond; setting WebCrypto up for it would take far longer. */
function wrap(key: WrappingKey, label: Uint8Array, sessionKey: Uint8Array): Uint8Array {
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  return publicEncrypt({ key, padding, oaepHash: "sha256", oaepLabel: label }, sessionKey);
}

/** The private operation takes milliseconds: WebCrypto runs it on the thread pool, so that it never blocks the event loop. */
async function unwrap(
  key: UnwrappingKey,
  label: Uint8Array,
  wrapped: Uint8Array,
): Promise<Uint8Array | undefined> {
  const algorithm = { name: oaep.name, label: Uint8Array.from(label) };
  try {
    const sessionKey = new Uint8Array(
      await webcrypto.subtle.decrypt(algorithm, key, Uint8Array.from(wrapped)),
    );
    return sessionKey.length === sessionKeyBytes ? sessionKey : undefined;
  } catch (error) {
    // The one error WebCrypto gives for a ciphertext that is not for this key and label.
    if (error instanceof Error && error.name === "OperationError") return undefined;
    throw new SecretError("Internal", "the RSA operation could not be run", { cause: error });
  }
}

function openBody(sessionKey: Uint8Array, body: Uint8Array): Uint8Array {
  const tagAt = body.length - tagBytes;
  const aes = createDecipheriv(cipher, sessionKey, nonce, { authTagLength: tagBytes });
  aes.setAuthTag(body.subarray(tagAt));
  const plaintext = aes.update(body.subarray(0, tagAt));
  try {
    aes.final();
  } catch (error) {
    plaintext.fill(0);
    throw new SecretError("Altered", "the ciphertext was changed after it was sealed", { cause: error });
  }
  return plaintext;
}
