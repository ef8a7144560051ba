import { invalidValue, required, unsupported, wrongType } from "./field-errors.ts";
import {
  equal,
  field,
  isObject,
  objectAt,
  objectsAt,
  setField,
  textAt,
  textsAt,
  type Json,
  type JsonObject,
} from "./objects.ts";
import type { Cause } from "./status.ts";

/** Fields of every object that no schema needs to declare. */
const rootFields = new Set(["apiVersion", "kind", "metadata"]);

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function valueSchema(schema: JsonObject, key: string): JsonObject | undefined {
  return objectAt(objectAt(schema, "properties"), key) ?? objectAt(schema, "additionalProperties");
}

/**
 * Keeps what a structural schema declares; pushes the paths of dropped fields to `dropped`.
 * The root keeps apiVersion, kind and metadata.
 */
export function prune(schema: JsonObject, value: Json, dropped: string[], path = ""): Json {
  if (Array.isArray(value)) {
    const items = objectAt(schema, "items");
    return items === undefined
      ? value
      : value.map((entry, i) => prune(items, entry, dropped, `${path}[${i}]`));
  }
  if (!isObject(value)) return value;
  const open = field(schema, "x-kubernetes-preserve-unknown-fields") === true;
  const anyValue = field(schema, "additionalProperties") === true;
  const embedded = path === "" || field(schema, "x-kubernetes-embedded-resource") === true;
  const result: JsonObject = {};
  for (const [key, child] of Object.entries(value)) {
    const inner = valueSchema(schema, key);
    if (embedded && rootFields.has(key)) setField(result, key, child);
    else if (inner !== undefined) setField(result, key, prune(inner, child, dropped, join(path, key)));
    else if (open || anyValue) setField(result, key, child);
    else dropped.push(join(path, key));
  }
  return result;
}

/** Fills in defaults; a null where none is allowed counts as absent. */
export function withDefaults(schema: JsonObject, value: Json): Json {
  if (Array.isArray(value)) {
    const items = objectAt(schema, "items");
    return items === undefined ? value : value.map((entry) => withDefaults(items, entry));
  }
  if (!isObject(value)) return value;
  const result: JsonObject = {};
  for (const [key, child] of Object.entries(value)) {
    const inner = valueSchema(schema, key);
    const nullable = inner === undefined || inner["nullable"] === true;
    if (child !== null || nullable)
      setField(result, key, inner === undefined ? child : withDefaults(inner, child));
  }
  for (const [key, inner] of Object.entries(objectAt(schema, "properties") ?? {})) {
    if (isObject(inner) && inner["default"] !== undefined && field(result, key) === undefined) {
      setField(result, key, structuredClone(inner["default"]));
    }
  }
  return result;
}

function typeName(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function hasType(schema: JsonObject, value: Json): boolean {
  if (value === null && schema["nullable"] === true) return true;
  const actual = typeName(value);
  if (schema["x-kubernetes-int-or-string"] === true) return actual === "integer" || actual === "string";
  const wanted = schema["type"];
  return wanted === undefined || wanted === actual || (wanted === "number" && actual === "integer");
}

const formats: Record<string, RegExp> = {
  byte: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
  "date-time": /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/,
};

function textErrors(schema: JsonObject, value: string, path: string): Cause[] {
  const errors: Cause[] = [];
  const pattern = textAt(schema, "pattern");
  if (pattern !== undefined && !new RegExp(pattern, "u").test(value)) {
    errors.push(invalidValue(path, value, `${path} in body should match '${pattern}'`));
  }
  const format = textAt(schema, "format") ?? "";
  if (formats[format]?.test(value) === false) {
    errors.push(
      invalidValue(path, value, `${path} in body must be of type ${format}: ${JSON.stringify(value)}`),
    );
  }
  const least = schema["minLength"];
  if (typeof least === "number" && value.length < least) {
    errors.push(invalidValue(path, value, `${path} in body should be at least ${least} chars long`));
  }
  const most = schema["maxLength"];
  if (typeof most === "number" && value.length > most) {
    errors.push({
      reason: "FieldValueTooLong",
      message: `Too long: may not be more than ${most} bytes`,
      field: path,
    });
  }
  return errors;
}

function numberErrors(schema: JsonObject, value: number, path: string): Cause[] {
  const { minimum, maximum } = schema;
  if (typeof minimum === "number" && value < minimum) {
    return [invalidValue(path, value, `${path} in body should be greater than or equal to ${minimum}`)];
  }
  if (typeof maximum === "number" && value > maximum) {
    return [invalidValue(path, value, `${path} in body should be less than or equal to ${maximum}`)];
  }
  return [];
}

function listErrors(schema: JsonObject, value: Json[], path: string): Cause[] {
  const { minItems, maxItems } = schema;
  const errors: Cause[] = [];
  if (typeof minItems === "number" && value.length < minItems) {
    errors.push(invalidValue(path, value.length, `${path} in body should have at least ${minItems} items`));
  }
  if (typeof maxItems === "number" && value.length > maxItems) {
    const message = `Too many: ${value.length}: must have at most ${maxItems} items`;
    errors.push({ reason: "FieldValueTooMany", message, field: path });
  }
  const items = objectAt(schema, "items");
  if (items === undefined) return errors;
  return [...errors, ...value.flatMap((entry, i) => schemaErrors(items, entry, `${path}[${i}]`))];
}

function objectErrors(schema: JsonObject, value: JsonObject, path: string): Cause[] {
  const missing = textsAt(schema, "required").filter((key) => field(value, key) === undefined);
  const errors = missing.map((key) => required(join(path, key)));
  for (const [key, child] of Object.entries(value)) {
    const inner = valueSchema(schema, key);
    if (inner !== undefined && !(path === "" && rootFields.has(key))) {
      errors.push(...schemaErrors(inner, child, join(path, key)));
    }
  }
  return errors;
}

/** Violations of an OpenAPI v3 structural schema, worded as the API server does. */
export function schemaErrors(schema: JsonObject, value: Json, path = ""): Cause[] {
  if (!hasType(schema, value)) {
    const wanted = textAt(schema, "type") ?? "integer or string";
    const actual = typeName(value);
    return [wrongType(path, actual, `${path} in body must be of type ${wanted}: ${JSON.stringify(actual)}`)];
  }
  if (value === null) return [];
  const errors: Cause[] = [];
  const allowed = schema["enum"];
  if (Array.isArray(allowed) && !allowed.some((entry) => equal(entry, value))) {
    errors.push(unsupported(path, value, allowed));
  }
  if (typeof value === "string") errors.push(...textErrors(schema, value, path));
  else if (typeof value === "number") errors.push(...numberErrors(schema, value, path));
  else if (Array.isArray(value)) errors.push(...listErrors(schema, value, path));
  else if (isObject(value)) errors.push(...objectErrors(schema, value, path));
  return [...errors, ...combinedErrors(schema, value, path)];
}

function combinedErrors(schema: JsonObject, value: Json, path: string): Cause[] {
  const holds = (inner: JsonObject): boolean => schemaErrors(inner, value, path).length === 0;
  const all = objectsAt(schema, "allOf").flatMap((inner) => schemaErrors(inner, value, path));
  const any = objectsAt(schema, "anyOf");
  if (any.length > 0 && !any.some(holds)) {
    all.push(invalidValue(path, value, `${path} in body must validate at least one schema (anyOf)`));
  }
  const one = objectsAt(schema, "oneOf");
  if (one.length > 0 && one.filter(holds).length !== 1) {
    all.push(invalidValue(path, value, `${path} in body must validate one and only one schema (oneOf)`));
  }
  const not = objectAt(schema, "not");
  if (not !== undefined && holds(not)) {
    all.push(invalidValue(path, value, `${path} in body must not validate the schema (not)`));
  }
  return all;
}
