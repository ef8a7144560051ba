import { decodeBase64, encodeBase64 } from "../../formats/base64.ts";
import { SecretError } from "../../formats/errors.ts";
import { sealItem } from "../../formats/seal.ts";
import type { SealingCertificate } from "../../formats/sealing-certificate.ts";
import type { SealingKey } from "../../formats/sealing-key.ts";
import { unseal } from "../../formats/unseal.ts";
import { randomNumbers } from "../seed.ts";

/** What became of a run of mutated ciphertexts. */
export interface MutationOutcome {
  /** Error code to count; together with `unchanged` the number of mutants. */
  refused: Record<string, number>;
  /** Mutants that were still the original, since base64 has several texts for the same bytes. */
  unchanged: number;
  /** Bytes by which the heap and its buffers grew from after the first batch to the end. */
  grownBytes: number;
}

type Random = () => number;
const below = (random: Random, limit: number): number => Math.floor(random() * limit);
const batch = 64;
const target = { scope: "strict", namespace: "ns", name: "app" } as const;

/**
 * Opens `count` mutants of sealed items, of plaintexts from nothing to 1 KiB.
 * @throws Error where a mutant opens, or ends in anything but a refusal of its own code
 */
export async function openMutants(
  pair: { certificate: SealingCertificate; key: SealingKey },
  { count, seed }: { count: number; seed: number },
): Promise<MutationOutcome> {
  const random = randomNumbers(seed);
  const originals = [0, 1, 15, 16, 17, 100, 1024].map((length) =>
    sealItem(Buffer.alloc(length, 0x5a), target, pair.certificate),
  );
  const outcome: MutationOutcome = { refused: {}, unchanged: 0, grownBytes: 0 };
  let heldAfterFirst = 0;
  for (let done = 0; done < count; done += batch) {
    const mutants = Array.from({ length: Math.min(batch, count - done) }, () => {
      const original = originals[below(random, originals.length)] ?? "";
      return { original, mutant: mutate(original, random) };
    });
    await Promise.all(mutants.map((each) => openMutant(each, pair.key, outcome)));
    if (done === 0) heldAfterFirst = heldBytes();
  }
  outcome.grownBytes = heldBytes() - heldAfterFirst;
  return outcome;
}

function heldBytes(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

async function openMutant(
  { original, mutant }: { original: string; mutant: string },
  key: SealingKey,
  outcome: MutationOutcome,
): Promise<void> {
  const decoded = decodeBase64(mutant);
  const same = decoded !== undefined && encodeBase64(decoded) === original;
  const metadata = { name: target.name, namespace: target.namespace };
  try {
    await unseal({ metadata, template: { metadata: {} }, encryptedData: { item: mutant } }, [key]);
  } catch (error) {
    if (same || !(error instanceof SecretError) || error.code === "Internal") throw error;
    outcome.refused[error.code] = (outcome.refused[error.code] ?? 0) + 1;
    return;
  }
  if (!same) throw new Error(`a changed item opened: ${mutant}, made of ${original}`);
  outcome.unchanged += 1;
}

const ofText: ((text: string, random: Random) => string)[] = [
  (text, random) => text.slice(0, below(random, text.length)),
  (text, random) => splice(text, below(random, text.length), "=-_\n\r \0Aé"[below(random, 9)] ?? ""),
];

const ofBytes: ((bytes: Buffer, random: Random) => Buffer)[] = [
  function flipBit(bytes, random) {
    const at = below(random, bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << below(random, 8));
    return bytes;
  },
  function setLength(bytes, random) {
    const near = bytes.readUInt16BE(0) + below(random, 5) - 2;
    const length = [0, 1, 0xffff, bytes.length - 2, below(random, 0x10000), near][below(random, 6)] ?? 0;
    bytes.writeUInt16BE(length & 0xffff);
    return bytes;
  },
  (bytes, random) => bytes.subarray(0, below(random, bytes.length)),
  (bytes, random) => Buffer.concat([bytes, Buffer.alloc(1 + below(random, 64), below(random, 256))]),
  function drop(bytes, random) {
    const at = below(random, bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(random, 16))]);
  },
  (bytes, random) => bytes.fill(below(random, 2) * 255, 2 + below(random, bytes.length - 2)),
  function repeat(bytes, random) {
    const at = below(random, bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes]);
  },
  (bytes, random) =>
    Buffer.from(Array.from({ length: below(random, bytes.length) }, () => below(random, 256))),
];

function mutate(original: string, random: Random): string {
  if (random() < 0.1) return (ofText[below(random, ofText.length)] ?? String)(original, random);
  let bytes: Buffer = Buffer.from(original, "base64");
  for (let times = 1 + below(random, 2); times > 0 && bytes.length > 2; times -= 1) {
    bytes = ofBytes[below(random, ofBytes.length)]?.(bytes, random) ?? bytes;
  }
  return encodeBase64(bytes);
}

function splice(text: string, at: number, inserted: string): string {
  return text.slice(0, at) + inserted + text.slice(at);
}
