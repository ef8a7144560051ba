import type { KubeList, KubeObject, Resource } from "./kube-api.ts";
import { type Call, describe, parseStatus, refusal, unavailable } from "./kube-error.ts";
import type { WireAnswer } from "./kube-request.ts";

/** @throws the error of {@link refusal}, if the answer is one */
export function accept2xx(call: Call, answer: WireAnswer): void {
  if (answer.status >= 200 && answer.status < 300) return;
  const body = parseStatus(answer.body);
  throw refusal(call, { status: answer.status, body, ...retryAfter(answer.headers) });
}

/** The object that the answer is. */
export function readObject(call: Call, answer: WireAnswer): KubeObject {
  accept2xx(call, answer);
  const parsed = parseObject(answer.body, call);
  if (typeof parsed["metadata"] !== "object") throw unavailable(`${describe(call)}: answer has no metadata`);
  return parsed as unknown as KubeObject;
}

/** Lists of built-in kinds leave out each item's kind; it's put back, so that an item is a whole object. */
export function readList(call: Call, answer: WireAnswer): KubeList {
  accept2xx(call, answer);
  const { metadata, items } = parseObject(answer.body, call) as {
    metadata?: { resourceVersion?: string; continue?: string };
    items?: KubeObject[] | null;
  };
  const resourceVersion = metadata?.resourceVersion;
  if (resourceVersion === undefined || !(items === null || Array.isArray(items))) {
    throw unavailable(`${describe(call)}: answer is not a list`);
  }
  const token = metadata?.continue === "" ? undefined : metadata?.continue;
  return { items: (items ?? []).map((item) => typed(call.resource, item)), resourceVersion, continue: token };
}

/** `Retry-After`: seconds or an HTTP date. */
export function retryAfter(headers: { "retry-after"?: string | undefined }): { retryAfterMs?: number } {
  const value = headers["retry-after"];
  if (value === undefined) return {};
  const ms = /^\d{1,6}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? { retryAfterMs: Math.max(0, ms) } : {};
}

/** The object with its `apiVersion` and `kind`, if it lacks them. */
export function typed(resource: Resource, object: KubeObject): KubeObject {
  return { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object };
}

function apiVersionOf(resource: Resource): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

/** JSON of an object. @throws RemoteUnavailable, without the parser's text, which quotes its input */
export function parseObject(bytes: Uint8Array, call: Call): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    parsed = undefined;
  }
  if (typeof parsed === "object" && parsed !== null) return parsed as Record<string, unknown>;
  throw unavailable(`${describe(call)}: answer is not readable`);
}
