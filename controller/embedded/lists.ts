import { keyOf, type Store } from "./store.ts";
import { isObject, metadataOf, nameOf, namespaceOf, type JsonObject } from "./objects.ts";
import type { Resource } from "./resources.ts";
import { fieldSelector, labelSelector, type Selector } from "./selectors.ts";
import { badRequest, expired, StatusError } from "./status.ts";

/** What a list or a deletecollection selects. */
export interface Selection {
  resource: Resource;
  namespace: string | undefined;
  select: Selector;
}

interface Continue {
  version: number;
  after: string;
}

/** The selectors of a query, joined. @throws 400 */
export function selectorOf(resource: Resource, query: URLSearchParams, name?: string): Selector {
  const labels = labelSelector(query.get("labelSelector") ?? "");
  const fields = fieldSelector(resource, query.get("fieldSelector") ?? "");
  return (object) =>
    labels(object) && fields(object) && (name === undefined || metadataOf(object)["name"] === name);
}

function encodeContinue({ version, after }: Continue): string {
  return Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv: version, start: `${after}\u0000` })).toString(
    "base64url",
  );
}

function decodeContinue(token: string): Continue {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    if (isObject(parsed) && typeof parsed["rv"] === "number" && typeof parsed["start"] === "string") {
      return { version: parsed["rv"], after: parsed["start"].replace(/\0$/, "") };
    }
  } catch {
    // Told below.
  }
  throw badRequest("continue key is not valid");
}

function versionTooLarge(version: number, current: number): StatusError {
  const message = `Timeout: Too large resource version: ${version}, current: ${current}`;
  const causes = [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }];
  return new StatusError(504, "Timeout", message, {
    details: { causes, retryAfterSeconds: 1 },
    retryAfterSeconds: 1,
  });
}

/** The resourceVersion to list at. @throws 400, 410, 504 */
function versionToList(query: URLSearchParams, store: Store): number {
  const text = query.get("resourceVersion") ?? "";
  const match = query.get("resourceVersionMatch") ?? "";
  if (match !== "" && text === "")
    throw badRequest("resourceVersionMatch is forbidden unless resourceVersion is provided");
  if (text === "" || text === "0") return store.version;
  if (!/^\d+$/.test(text)) throw badRequest(`Invalid value: "${text}": strconv.ParseUint: invalid syntax`);
  const version = Number(text);
  if (version > store.version) throw versionTooLarge(version, store.version);
  return match === "Exact" ? version : store.version;
}

/** One page of a list with its ListMeta. @throws 400, 410, 504 */
export function listPage(
  store: Store,
  { resource, namespace, select }: Selection,
  query: URLSearchParams,
): { objects: JsonObject[]; metadata: JsonObject } {
  const token = query.get("continue") ?? "";
  const limit = Number(query.get("limit") ?? 0);
  const from = token === "" ? undefined : decodeContinue(token);
  const version = from?.version ?? versionToList(query, store);
  const all =
    version === store.version
      ? store.list(resource.storage, namespace)
      : store.listAt(resource.storage, version);
  if (all === undefined) {
    throw expired(
      token === ""
        ? "The resourceVersion for the provided list is too old."
        : "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
    );
  }
  const key = (object: JsonObject): string => keyOf(namespaceOf(object), nameOf(object));
  const selected = all.filter(
    (object) =>
      (namespace === undefined || namespaceOf(object) === namespace) &&
      (from === undefined || key(object) > from.after) &&
      select(object),
  );
  const objects = limit > 0 ? selected.slice(0, limit) : selected;
  const left = selected.length - objects.length;
  const last = objects.at(-1);
  // Lists of custom resources always name the field.
  const metadata: JsonObject = {
    ...(resource.custom === undefined ? {} : { continue: "" }),
    resourceVersion: String(version),
  };
  if (left > 0 && last !== undefined) {
    metadata["continue"] = encodeContinue({ version, after: key(last) });
    const filtered = query.has("labelSelector") || query.has("fieldSelector");
    if (!filtered) metadata["remainingItemCount"] = left;
  }
  return { objects, metadata };
}
