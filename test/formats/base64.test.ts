import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeBase64, encodeBase64 } from "../../formats/base64.ts";
import { holds } from "../seed.ts";

interface GoVectors {
  rows: { text: string; hex: string | null }[];
}
const vectors = JSON.parse(readFileSync("test/vectors/base64-go.json", "utf8")) as GoVectors;

test("decodes and refuses exactly what Go's StdEncoding does", () => {
  expect(vectors.rows.length).toBeGreaterThan(300);
  for (const { text, hex } of vectors.rows) {
    const decoded = decodeBase64(text);
    expect(
      { text, hex: decoded === undefined ? null : Buffer.from(decoded).toString("hex") },
      JSON.stringify(text),
    ).toEqual({ text, hex });
  }
});

test("any bytes come back, with line ends anywhere in the text", async () => {
  await holds(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.nat(),
      fc.constantFrom("\n", "\r\n", "\r"),
      (bytes, at, end) => {
        const text = encodeBase64(bytes);
        const cut = at % (text.length + 1);
        expect(decodeBase64(text)).toEqual(Buffer.from(bytes));
        expect(decodeBase64(text.slice(0, cut) + end + text.slice(cut))).toEqual(Buffer.from(bytes));
      },
    ),
  );
});

test("encodes the view, not the buffer beneath it", () => {
  const whole = Uint8Array.from([1, 2, 3, 4]);
  expect(encodeBase64(whole.subarray(1, 3))).toBe(Buffer.from([2, 3]).toString("base64"));
});

test("texts of tens of megabytes overflow nothing, good or bad", () => {
  const bytes = Buffer.alloc(12_000_000, 0xa5);
  const text = encodeBase64(bytes);
  expect(Buffer.compare(decodeBase64(text) ?? Buffer.alloc(0), bytes)).toBe(0);
  expect(decodeBase64(`${text.slice(0, -1)}!`)).toBeUndefined();
  expect(decodeBase64(text.replace(/.{76}/g, "$&\n"))?.length).toBe(bytes.length);
});
