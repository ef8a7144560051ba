import { decodeBase64 } from "../formats/base64.ts";
import { asSecretError } from "../formats/errors.ts";
import { decryptEnvelope } from "../formats/hybrid.ts";
import { encryptionLabel, targetOf, type Target } from "../formats/scope.ts";
import { sealItem } from "../formats/seal.ts";
import type { SealedSecret } from "../formats/sealed-secret.ts";
import type { SealingCertificate } from "../formats/sealing-certificate.ts";
import type { SealingKey } from "../formats/sealing-key.ts";
import type { Turns } from "./turns.ts";

/** What opening for a stranger works with. */
export interface OpeningMeans {
  /** In the order to try. */
  keys: readonly SealingKey[];
  /** Shared by all requests and taken item by item, so that a large object does not hold up a small one. */
  turns: Turns;
  /** Whether the deprecated `spec.data` is opened. */
  acceptBlob: boolean;
  /** Aborts when nobody waits for the result. */
  signal: AbortSignal;
}

/** Of an object that does not open, no more items are tried than these: the answer is known, and the time costs others. */
const maxFailures = 8;

type Items = readonly (readonly [entry: string, item: string])[];

/**
 * Whether a SealedSecret opens. Its template is not looked at: nothing authenticates it, and whoever asks may have written it.
 */
export async function opens(sealed: SealedSecret, means: OpeningMeans): Promise<boolean> {
  const opened = await openEvery(sealed, means);
  for (const value of opened?.values() ?? []) value.fill(0);
  return opened !== undefined;
}

/**
 * Encrypts a SealedSecret's items anew. The scope is the one that they are sealed for, and everything else stays as it is.
 * @returns `undefined` where it does not open
 */
export async function rotate(
  sealed: SealedSecret,
  certificate: SealingCertificate,
  means: OpeningMeans,
): Promise<SealedSecret | undefined> {
  const opened = await openEvery(sealed, means);
  if (opened === undefined) return undefined;
  const target = targetOf(sealed.metadata);
  const items: [string, string][] = [];
  for (const [entry, value] of opened) {
    items.push([entry, sealItem(value, target, certificate)]);
    value.fill(0);
  }
  if (sealed.blob !== undefined) return { ...sealed, blob: items[0]?.[1] ?? "" };
  return { ...sealed, encryptedData: Object.fromEntries(items) };
}

/**
 * Opens all items. One that does not open costs the same work whatever the reason, and the reason is not kept: an item with
 * a foreign key, a foreign scope or a changed ciphertext look alike from outside.
 */
async function openEvery(
  sealed: SealedSecret,
  means: OpeningMeans,
): Promise<Map<string, Uint8Array> | undefined> {
  const label = labelOf(targetOf(sealed.metadata));
  const items = itemsOf(sealed, means.acceptBlob);
  if (label === undefined || items === undefined) return undefined;
  const order = [...means.keys];
  const opened = new Map<string, Uint8Array>();
  let failures = 0;
  for (const [entry, item] of items) {
    means.signal.throwIfAborted();
    const value = await means.turns.take(() => openItem(item, label, order));
    if (value !== undefined) opened.set(entry, value);
    else if (++failures >= maxFailures) break;
  }
  if (failures === 0) return opened;
  for (const value of opened.values()) value.fill(0);
  return undefined;
}

/** @returns `undefined` where name or namespace are missing for the scope: such items were never sealed */
function labelOf(target: Target): Uint8Array | undefined {
  try {
    return encryptionLabel(target);
  } catch (error) {
    if (asSecretError(error).code === "InvalidSecret") return undefined;
    throw error;
  }
}

/** @returns `undefined` for the deprecated form where it is not accepted, or is mixed with the present one */
function itemsOf({ blob, encryptedData }: SealedSecret, acceptBlob: boolean): Items | undefined {
  const items = Object.entries(encryptedData);
  if (blob === undefined) return items;
  return acceptBlob && items.length === 0 ? [["data", blob]] : undefined;
}

/** Tries every key until one opens the item. That key then stands first, since it likely opens the next one too. */
async function openItem(
  item: string,
  label: Uint8Array,
  order: SealingKey[],
): Promise<Uint8Array | undefined> {
  const envelope = decodeBase64(item) ?? new Uint8Array();
  for (const [at, key] of order.entries()) {
    const value = await decrypt(key, label, envelope);
    if (value === undefined) continue;
    order.unshift(...order.splice(at, 1));
    return value;
  }
  return undefined;
}

/** A changed ciphertext is taken for one of another key, so that the search goes on as it would for that. */
async function decrypt(
  key: SealingKey,
  label: Uint8Array,
  envelope: Uint8Array,
): Promise<Uint8Array | undefined> {
  try {
    return await decryptEnvelope(key.privateKey, label, envelope);
  } catch (error) {
    if (asSecretError(error).code === "Altered") return undefined;
    throw error;
  }
}
