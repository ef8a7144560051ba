import type { Cause } from "./status.ts";

function quoted(value: unknown): string {
  return JSON.stringify(value ?? null);
}

/** A field has a value that it may not have. */
export function invalidValue(field: string, value: unknown, why: string): Cause {
  return { reason: "FieldValueInvalid", message: `Invalid value: ${quoted(value)}: ${why}`, field };
}

/** A field is missing. */
export function required(field: string, why = ""): Cause {
  return {
    reason: "FieldValueRequired",
    message: why === "" ? "Required value" : `Required value: ${why}`,
    field,
  };
}

/** A field may not be set or changed. */
export function notAllowed(field: string, why: string): Cause {
  return { reason: "FieldValueForbidden", message: `Forbidden: ${why}`, field };
}

/** A value has another JSON type than the schema's. */
export function wrongType(field: string, value: unknown, why: string): Cause {
  return { reason: "FieldValueTypeInvalid", message: `Invalid value: ${quoted(value)}: ${why}`, field };
}

/** A value is not one of those allowed. */
export function unsupported(field: string, value: unknown, allowed: readonly unknown[]): Cause {
  const list = allowed.map(quoted).join(", ");
  return {
    reason: "FieldValueNotSupported",
    message: `Unsupported value: ${quoted(value)}: supported values: ${list}`,
    field,
  };
}

/** More bytes than allowed. */
export function tooLong(field: string, limit: number): Cause {
  return { reason: "FieldValueTooLong", message: `Too long: may not be more than ${limit} bytes`, field };
}
