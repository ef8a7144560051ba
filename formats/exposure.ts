import { encodeBase64 } from "./base64.ts";
import { SecretError } from "./errors.ts";
import { templateOf } from "./seal.ts";
import type { Secret } from "./secret.ts";

/** A shorter value turns up in metadata by chance; in labels, where names of users and databases stand, a longer one does. */
const minimumBytes = 8;
const minimumBytesInLabels = 16;

/**
 * Refuses a Secret whose annotations or labels repeat one of its values, as they are or in base64: metadata stays readable
 * when the Secret is sealed. What sealing strips anyway may hold them, and a value that is part of the object's own name is
 * no secret.
 * @throws SecretError `PlaintextExposed`
 */
export function requireUnexposed(secret: Secret): void {
  const { annotations = {}, labels = {}, name = "", namespace = "" } = templateOf(secret).metadata;
  const texts = [
    ...Object.entries(annotations).map(([key, text]) => ({
      place: `annotation ${key}`,
      text,
      minimum: minimumBytes,
    })),
    ...Object.entries(labels).map(([key, text]) => ({
      place: `label ${key}`,
      text,
      minimum: minimumBytesInLabels,
    })),
  ];
  for (const [entry, value] of secret.entries) {
    if (value.length < minimumBytes) continue;
    const forms = writtenForms(value).filter((form) => !name.includes(form) && !namespace.includes(form));
    const exposed = texts.find(
      ({ text, minimum }) => value.length >= minimum && forms.some((form) => text.includes(form)),
    );
    if (exposed !== undefined) throw exposure(exposed.place, entry, secret);
  }
}

/** How a value may stand in a text: as it is, without its line end, escaped in JSON, in base64 with or without padding. */
function writtenForms(value: Uint8Array): string[] {
  const text = Buffer.from(value).toString("utf8");
  const forms = [
    text,
    text.trim(),
    JSON.stringify(text).slice(1, -1),
    encodeBase64(value).replace(/=+$/, ""),
  ];
  return forms.filter((form) => form.length >= minimumBytes);
}

function exposure(place: string, entry: string, { metadata }: Secret): SecretError {
  const which = metadata.name === undefined ? "" : ` of Secret ${metadata.name}`;
  return new SecretError("PlaintextExposed", `the ${place}${which} repeats the value of entry ${entry}`, {
    hint: `remove the ${place}, which stays readable in the SealedSecret; or seal with --allow-exposed-values`,
  });
}
