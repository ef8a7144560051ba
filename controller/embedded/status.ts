import type { JsonObject } from "./objects.ts";

/** One entry of `details.causes`. */
export interface Cause {
  /** For example `FieldValueInvalid`. */
  reason: string;
  message: string;
  /** Path of the field, for example `metadata.name`. */
  field: string;
}

/** What identifies a resource in messages: `sealedsecrets.bitnami.com "a" not found`. */
export interface ResourceName {
  group: string;
  plural: string;
  kind: string;
}

interface StatusDetail {
  details?: JsonObject;
  /** Seconds, sent as `Retry-After` as well. */
  retryAfterSeconds?: number;
  /** The answer is the message alone. */
  plain?: boolean;
}

/**
 * An answer of the API other than success, with the `v1 Status` body that clients decode. It is a protocol value, which
 * is why it is not a `SecretError`: a client sees its own mistake explained as kube-apiserver would.
 */
export class StatusError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: JsonObject | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly plain: boolean;

  constructor(code: number, reason: string, message: string, detail: StatusDetail = {}) {
    super(message);
    this.name = "StatusError";
    this.code = code;
    this.reason = reason;
    this.details = detail.details;
    this.retryAfterSeconds = detail.retryAfterSeconds;
    this.plain = detail.plain ?? false;
  }

  /** The `v1 Status` object. */
  body(): JsonObject {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      ...(this.reason === "" ? {} : { reason: this.reason }),
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.code,
    };
  }
}

/** `secrets` or `sealedsecrets.bitnami.com`. */
export function qualifiedName(resource: ResourceName): string {
  return resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
}

function detailsOf(resource: ResourceName, name: string): JsonObject {
  return {
    ...(name === "" ? {} : { name }),
    ...(resource.group === "" ? {} : { group: resource.group }),
    kind: resource.plural,
  };
}

/** 404 for one object. */
export function notFound(resource: ResourceName, name: string): StatusError {
  const details = detailsOf(resource, name);
  return new StatusError(404, "NotFound", `${qualifiedName(resource)} "${name}" not found`, { details });
}

/** 404 for a path that is not served. */
export function noSuchPath(): StatusError {
  return new StatusError(404, "NotFound", "the server could not find the requested resource", {
    details: {},
  });
}

/** 404 outside of every group that is served: no Status, but a line of text. */
export function pageNotFound(): StatusError {
  return new StatusError(404, "", "404 page not found\n", { plain: true });
}

/** 409 on create. */
export function alreadyExists(resource: ResourceName, name: string): StatusError {
  const details = detailsOf(resource, name);
  return new StatusError(409, "AlreadyExists", `${qualifiedName(resource)} "${name}" already exists`, {
    details,
  });
}

const modified =
  "the object has been modified; please apply your changes to the latest version and try again";

/** 409 on update: a precondition failed. */
export function conflict(resource: ResourceName, name: string, why: string = modified): StatusError {
  const message = `Operation cannot be fulfilled on ${qualifiedName(resource)} "${name}": ${why}`;
  return new StatusError(409, "Conflict", message, { details: detailsOf(resource, name) });
}

/** 422 with one cause per field. */
export function invalid(resource: ResourceName, name: string, causes: readonly Cause[]): StatusError {
  const lines = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const text = lines.length === 1 ? lines.join("") : `[${lines.join(", ")}]`;
  const kind = resource.group === "" ? resource.kind : `${resource.kind}.${resource.group}`;
  const details = {
    ...(name === "" ? {} : { name }),
    ...(resource.group === "" ? {} : { group: resource.group }),
    kind: resource.kind,
    causes: causes.map((cause) => ({ ...cause })),
  };
  return new StatusError(422, "Invalid", `${kind} "${name}" is invalid: ${text}`, { details });
}

/** 403. */
export function forbidden(
  resource: ResourceName,
  name: string,
  { why, causes = [] }: { why: string; causes?: Cause[] },
): StatusError {
  const message = `${qualifiedName(resource)} "${name}" is forbidden: ${why}`;
  const details = {
    ...detailsOf(resource, name),
    ...(causes.length === 0 ? {} : { causes: causes.map((cause) => ({ ...cause })) }),
  };
  return new StatusError(403, "Forbidden", message, { details });
}

/** 400. */
export function badRequest(message: string): StatusError {
  return new StatusError(400, "BadRequest", message);
}

/** 401: no or an unknown bearer token. */
export function unauthorized(): StatusError {
  return new StatusError(401, "Unauthorized", "Unauthorized");
}

/** 405. */
export function methodNotAllowed(): StatusError {
  return new StatusError(
    405,
    "MethodNotAllowed",
    "the server does not allow this method on the requested resource",
    {
      details: {},
    },
  );
}

/** 410: the resourceVersion lies before the history that is kept. */
export function expired(message: string): StatusError {
  return new StatusError(410, "Expired", message);
}

/** 413. */
export function tooLarge(limit: number): StatusError {
  const message = `Request entity too large: limit is ${limit}`;
  return new StatusError(413, "RequestEntityTooLarge", message);
}

/** 415: the body has a media type that the resource does not take. */
export function unsupportedMedia(accepted: readonly string[]): StatusError {
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted.join(", ")}`;
  return new StatusError(415, "UnsupportedMediaType", message);
}

/** 503: the directory can no longer be written, so nothing is acknowledged any more. */
export function storageFailed(): StatusError {
  const message = "the directory of the embedded API cannot be written; free some space and restart";
  return new StatusError(503, "ServiceUnavailable", message, { retryAfterSeconds: 5 });
}
