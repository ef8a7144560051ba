import fc from "fast-check";
import { expect, test } from "vitest";
import { decryptEnvelope, encryptEnvelope } from "../../formats/hybrid.ts";
import { holds, seed } from "../seed.ts";
import { openMutants } from "../bench/mutations.ts";
import { failureOf, newKeyPair } from "./sealing.ts";

const pairs = new Map([
  [1024, await newKeyPair({ bits: 1024 })],
  [2048, await newKeyPair({ bits: 2048 })],
]);
const small = pairs.get(1024)!;
const label = Buffer.from("ns/app");

test("an envelope: length, RSA part, body and tag; new every time", async () => {
  for (const [bits, { certificate, key }] of pairs) {
    const plaintext = Buffer.from("abc");
    const envelope = encryptEnvelope(certificate.publicKey, label, plaintext);
    expect(envelope).toHaveLength(2 + bits / 8 + plaintext.length + 16);
    expect(Buffer.from(envelope).readUInt16BE(0)).toBe(bits / 8);
    expect(encryptEnvelope(certificate.publicKey, label, plaintext)).not.toEqual(envelope);
    expect(await decryptEnvelope(key.privateKey, label, envelope)).toEqual(plaintext);
  }
});

test("any plaintext comes back under its label, and under no other", async () => {
  await holds(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 200 }),
      fc.string(),
      fc.string(),
      async (plaintext, own, other) => {
        const envelope = encryptEnvelope(small.certificate.publicKey, Buffer.from(own), plaintext);
        const opened = await decryptEnvelope(small.key.privateKey, Buffer.from(own), envelope);
        expect(Buffer.from(opened!)).toEqual(Buffer.from(plaintext));
        fc.pre(own !== other);
        expect(await decryptEnvelope(small.key.privateKey, Buffer.from(other), envelope)).toBeUndefined();
      },
    ),
  );
});

test("another key does not fit", async () => {
  const envelope = encryptEnvelope(small.certificate.publicKey, label, Buffer.from("abc"));
  for (const bits of [1024, 2048]) {
    const { key } = await newKeyPair({ bits });
    expect(await decryptEnvelope(key.privateKey, label, envelope)).toBeUndefined();
  }
});

test("an envelope may lie within a larger buffer", async () => {
  const envelope = encryptEnvelope(small.certificate.publicKey, label, Buffer.from("abc"));
  const within = Buffer.concat([Buffer.alloc(7, 0xff), envelope, Buffer.alloc(5)]).subarray(
    7,
    7 + envelope.length,
  );
  expect(await decryptEnvelope(small.key.privateKey, label, within)).toEqual(Buffer.from("abc"));
});

test.each([4, 8, 12, 15])("T09 a GCM tag cut to %d bytes is refused", async (kept) => {
  for (const length of [0, 1, 16, 1000]) {
    const envelope = encryptEnvelope(small.certificate.publicKey, label, Buffer.alloc(length, 1));
    const cut = envelope.subarray(0, envelope.length - 16 + kept);
    const open = () => decryptEnvelope(small.key.privateKey, label, cut);
    // Too short for a tag at all: no envelope. Else the last plaintext bytes are taken for tag bytes, and it does not verify.
    if (length < 16 - kept) expect(await open()).toBeUndefined();
    else expect(await failureOf(open)).toMatchObject({ code: "Altered" });
  }
});

test("T08 an envelope with a bad length header is refused", async () => {
  const envelope = Buffer.from(encryptEnvelope(small.certificate.publicKey, label, Buffer.from("abc")));
  for (const length of [0, 1, 127, 129, 130, 200, 0x7fff, 0xffff]) {
    envelope.writeUInt16BE(length);
    expect(await decryptEnvelope(small.key.privateKey, label, envelope), String(length)).toBeUndefined();
  }
  for (const length of [0, 1, 2, 17, 18]) {
    expect(await decryptEnvelope(small.key.privateKey, label, new Uint8Array(length))).toBeUndefined();
  }
});

test.each([
  [1024, 18_500],
  [2048, 1500],
])("T08 %d-bit keys: %d mutated ciphertexts are refused, in flat memory", async (bits, count) => {
  const outcome = await openMutants(pairs.get(bits)!, { count, seed });
  const refused = Object.values(outcome.refused).reduce((sum, each) => sum + each, 0);
  console.log(`T08 ${bits} bits:`, outcome);
  expect(refused + outcome.unchanged).toBe(count);
  expect(Object.keys(outcome.refused).sort()).toEqual(["Altered", "CannotUnseal", "InvalidSealedSecret"]);
  expect(outcome.unchanged).toBeLessThan(count / 20);
  expect(outcome.grownBytes).toBeLessThan(64 * 2 ** 20);
});
