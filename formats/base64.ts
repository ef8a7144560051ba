const alphabet = /^[A-Za-z0-9+/]*$/;

/**
 * Decodes padded standard base64 as Go's `base64.StdEncoding` does: strict about alphabet and padding, line ends ignored.
 * @returns the bytes, or `undefined` where the text is not base64
 * @see RFC 4648 section 4
 */
export function decodeBase64(text: string): Uint8Array | undefined {
  const packed = /[\r\n]/.test(text) ? text.replace(/[\r\n]+/g, "") : text;
  if (packed.length % 4 !== 0) return undefined;
  const padding = packed.endsWith("==") ? 2 : packed.endsWith("=") ? 1 : 0;
  if (!alphabet.test(packed.slice(0, packed.length - padding))) return undefined;
  return Buffer.from(packed, "base64");
}

/**
 * Encodes bytes as padded standard base64 without line ends.
 * @see RFC 4648 section 4
 */
export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
