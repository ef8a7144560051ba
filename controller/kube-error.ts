import { SecretError, type ErrorCode } from "../formats/errors.ts";
import type { ObjectRef, Resource } from "./kube-api.ts";

/** What was asked, in the words that RBAC uses; the source of every message, since the answer's text is not repeated. */
export interface Call {
  verb: "get" | "list" | "watch" | "create" | "update" | "patch" | "delete";
  resource: Resource;
  /** Without a name for a whole collection. */
  ref: Partial<ObjectRef>;
  subresource?: string | undefined;
}

/** The parts of a `metav1.Status` that decide; absent if the answer was something else. */
export interface StatusBody {
  code?: number;
  reason?: string;
  details?: {
    name?: string;
    retryAfterSeconds?: number;
    causes?: { reason?: string; field?: string; message?: string }[];
  };
}

/** Reads a `metav1.Status`; any other document, or no JSON at all, is `undefined`. */
export function parseStatus(body: Uint8Array): StatusBody | undefined {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(body));
    return isStatus(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

function isStatus(value: unknown): value is StatusBody {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "Status";
}

/** `update secrets/status "ns/name"` */
export function describe(call: Call): string {
  const group = call.resource.group === "" ? "" : `.${call.resource.group}`;
  const subresource = call.subresource === undefined ? "" : `/${call.subresource}`;
  return `${call.verb} ${call.resource.plural}${group}${subresource}${place(call.ref)}`;
}

function place(ref: Partial<ObjectRef>): string {
  if (ref.name === undefined || ref.name === "") {
    return ref.namespace === undefined ? "" : ` in namespace ${ref.namespace}`;
  }
  return ref.namespace === undefined ? ` ${ref.name}` : ` ${ref.namespace}/${ref.name}`;
}

/** True if the server said that exactly the named object is missing, and not the kind or the path. */
export function isObjectMissing(call: Call, status: StatusBody | undefined): boolean {
  return status?.reason === "NotFound" && status.details?.name === call.ref.name;
}

/** The one place where an answer that isn't 2xx gets its code. */
export function refusal(
  call: Call,
  answer: { status: number; body?: StatusBody | undefined; retryAfterMs?: number | undefined },
): SecretError {
  const code = codeFor(call, answer.status, answer.body);
  const seconds = answer.body?.details?.retryAfterSeconds;
  const retryAfterMs = answer.retryAfterMs ?? (seconds === undefined ? undefined : seconds * 1000);
  return new SecretError(code, `API server: ${describe(call)}: ${outcome(code, answer.status)}`, {
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...hintFor(code, call),
  });
}

function codeFor(call: Call, status: number, body: StatusBody | undefined): ErrorCode {
  if (status === 401 || status === 403) return "Forbidden";
  if (status === 404) return "NotFound";
  if (status === 409) return "Conflict";
  if (status === 410) return "Expired";
  if (status === 422 && isImmutable(call, body)) return "ImmutableSecret";
  if (status === 429) return "Throttled";
  if (status === 408 || status >= 500 || status < 400) return "RemoteUnavailable";
  return "Rejected";
}

/** The server forbids a change of `data` or `immutable`; a change of `type` is invalid, not forbidden. */
function isImmutable(call: Call, body: StatusBody | undefined): boolean {
  if (call.resource.kind !== "Secret") return false;
  const causes = body?.details?.causes ?? [];
  return causes.some(
    (cause) =>
      cause.reason === "FieldValueForbidden" &&
      cause.message?.includes("immutable when `immutable` is set") === true,
  );
}

function outcome(code: ErrorCode, status: number): string {
  if (status === 401) return "not logged in (401)";
  const words: Partial<Record<ErrorCode, string>> = {
    Forbidden: "not allowed",
    NotFound: "not found",
    Conflict: "changed or created by someone else",
    Expired: "version too old",
    Throttled: "too many requests",
    Rejected: "refused as invalid",
    ImmutableSecret: "the Secret is immutable",
  };
  return `${words[code] ?? "failed"} (${status})`;
}

function hintFor(code: ErrorCode, call: Call): { hint?: string } {
  if (code === "Forbidden") {
    const { group, plural } = call.resource;
    const sub = call.subresource === undefined ? "" : `/${call.subresource}`;
    return { hint: `allow verb "${call.verb}" on resource "${plural}${sub}" in API group "${group}"` };
  }
  if (code === "NotFound") return { hint: "check that the kind is installed and the namespace exists" };
  if (code === "ImmutableSecret") return { hint: "delete the Secret, so that it is made again" };
  if (code === "Rejected") return { hint: "check names, keys and size against the Kubernetes limits" };
  return {};
}

/** A failure without an answer: network, TLS, deadline or an answer that can't be read. */
export function unavailable(what: string, cause?: unknown): SecretError {
  const code = errno(cause);
  return new SecretError("RemoteUnavailable", `API server: ${what}${code === "" ? "" : ` (${code})`}`, {
    cause,
    hint: "check that the API server can be reached",
  });
}

/** Node's own constant, such as ECONNREFUSED or CERT_HAS_EXPIRED: safe to print, unlike the error's text. */
function errno(cause: unknown): string {
  if (!(cause instanceof Error) || !("code" in cause) || typeof cause.code !== "string") return "";
  return /^[A-Z][A-Z0-9_]{2,60}$/.test(cause.code) ? cause.code : "";
}
