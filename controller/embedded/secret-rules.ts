import { invalidValue, notAllowed, required, tooLong } from "./field-errors.ts";
import {
  equal,
  field,
  isObject,
  metadataOf,
  objectAt,
  setField,
  textAt,
  without,
  type JsonObject,
} from "./objects.ts";
import type { Cause } from "./status.ts";

const sizeLimit = 1_048_576;
const dataKey = /^[-._a-zA-Z0-9]+$/;
const dataKeyText =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const immutableText = "field is immutable when `immutable` is set";

/** Go's position of the first byte that is not base64 text; the server repeats it in its answer. */
function illegalByte(text: string): number | undefined {
  const plain = text.replace(/[\r\n]/g, "");
  const body = /^[A-Za-z0-9+/]*/.exec(plain)?.[0] ?? "";
  const padding = plain.slice(body.length);
  if (padding === "") return body.length % 4 === 0 ? undefined : body.length - (body.length % 4);
  if (body.length % 4 === 2 && padding === "==") return undefined;
  if (body.length % 4 === 3 && padding === "=") return undefined;
  return body.length;
}

function canonicalData(data: JsonObject, problem: (text: string) => Error): JsonObject {
  const result: JsonObject = {};
  for (const [key, value] of Object.entries(data)) {
    if (value !== null && typeof value !== "string") {
      throw problem(
        `json: cannot unmarshal ${typeof value} into Go struct field Secret.data of type []uint8`,
      );
    }
    const position = illegalByte(value ?? "");
    if (position !== undefined) throw problem(`illegal base64 data at input byte ${position}`);
    setField(result, key, Buffer.from(value ?? "", "base64").toString("base64"));
  }
  return result;
}

function encodedTexts(texts: JsonObject, problem: (text: string) => Error): JsonObject {
  const result: JsonObject = {};
  for (const [key, value] of Object.entries(texts)) {
    if (value !== null && typeof value !== "string") {
      throw problem(
        `json: cannot unmarshal ${typeof value} into Go struct field Secret.stringData of type string`,
      );
    }
    setField(result, key, Buffer.from(value ?? "").toString("base64"));
  }
  return result;
}

/** Secret as stored: `stringData` merged into `data`, base64 canonical, type never empty. @throws by `problem` (400) */
export function normaliseSecret(object: JsonObject, problem: (text: string) => Error): JsonObject {
  const result = without(object, "stringData", "data", "type", "immutable");
  const data = canonicalData(objectAt(object, "data") ?? {}, problem);
  const texts = encodedTexts(objectAt(object, "stringData") ?? {}, problem);
  for (const [key, value] of Object.entries(texts)) setField(data, key, value);
  if (Object.keys(data).length > 0) result["data"] = data;
  const immutable = field(object, "immutable");
  if (typeof immutable === "boolean") result["immutable"] = immutable;
  result["type"] = (textAt(object, "type") ?? "") === "" ? "Opaque" : (textAt(object, "type") ?? "");
  return result;
}

function missing(data: JsonObject, ...keys: string[]): Cause[] {
  return keys.filter((key) => field(data, key) === undefined).map((key) => required(`data[${key}]`));
}

function jsonErrors(data: JsonObject, key: string): Cause[] {
  const value = textAt(data, key);
  if (value === undefined) return [required(`data[${key}]`)];
  try {
    const parsed: unknown = JSON.parse(Buffer.from(value, "base64").toString());
    if (isObject(parsed)) return [];
  } catch {
    // Told below, without the parser's text: it quotes the credentials.
  }
  return [invalidValue(`data[${key}]`, "<secret contents redacted>", "invalid character in JSON document")];
}

function typeErrors(object: JsonObject, data: JsonObject): Cause[] {
  switch (textAt(object, "type")) {
    case "kubernetes.io/tls":
      return missing(data, "tls.crt", "tls.key");
    case "kubernetes.io/dockerconfigjson":
      return jsonErrors(data, ".dockerconfigjson");
    case "kubernetes.io/dockercfg":
      return jsonErrors(data, ".dockercfg");
    case "kubernetes.io/ssh-auth":
      return missing(data, "ssh-privatekey");
    case "kubernetes.io/basic-auth":
      return field(data, "username") === undefined && field(data, "password") === undefined
        ? missing(data, "username", "password")
        : [];
    case "kubernetes.io/service-account-token": {
      const annotations = objectAt(metadataOf(object), "annotations");
      const name = textAt(annotations, "kubernetes.io/service-account.name") ?? "";
      return name === "" ? [required("metadata.annotations[kubernetes.io/service-account.name]")] : [];
    }
    default:
      return [];
  }
}

/** Keys, total size and the keys that the type demands. */
export function secretErrors(object: JsonObject): Cause[] {
  const data = objectAt(object, "data") ?? {};
  const keys = Object.keys(data).flatMap((key) => keyErrors(key));
  const total = Object.values(data).reduce<number>(
    (sum, value) => sum + Buffer.byteLength(typeof value === "string" ? value : "", "base64"),
    0,
  );
  const size = total > sizeLimit ? [tooLong("data", sizeLimit)] : [];
  return [...keys, ...size, ...typeErrors(object, data)];
}

/** The rule for the keys of a Secret's and a ConfigMap's data. */
export function keyErrors(key: string, at = "data"): Cause[] {
  const path = `${at}[${key}]`;
  if (key.length > 253) return [invalidValue(path, key, "must be no more than 253 characters")];
  if (key === "." || key === "..") return [invalidValue(path, key, `must not be '${key}'`)];
  if (key.startsWith("..")) return [invalidValue(path, key, "must not start with '..'")];
  return dataKey.test(key) ? [] : [invalidValue(path, key, dataKeyText)];
}

/** What may not change: the type ever, the content once `immutable` is true. */
export function secretUpdateErrors(before: JsonObject, after: JsonObject): Cause[] {
  const errors: Cause[] = [];
  if (!equal(field(before, "type"), field(after, "type"))) {
    errors.push(invalidValue("type", field(after, "type"), "field is immutable"));
  }
  return [...errors, ...immutableErrors(before, after, ["data"])];
}

/** The meaning of `immutable: true` for Secrets and ConfigMaps. */
export function immutableErrors(before: JsonObject, after: JsonObject, fields: readonly string[]): Cause[] {
  if (field(before, "immutable") !== true) return [];
  const changed = fields.filter((name) => !equal(field(before, name) ?? {}, field(after, name) ?? {}));
  const unset = field(after, "immutable") === true ? [] : ["immutable"];
  return [...unset, ...changed].map((name) => notAllowed(name, immutableText));
}
