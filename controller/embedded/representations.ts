import { toCoreEvent, toEventsGroup } from "./event-versions.ts";
import { metadataOf, textAt, without, type JsonObject } from "./objects.ts";
import { apiVersionOf, type Resource } from "./resources.ts";
import type { Change, ChangeType } from "./store.ts";
import { tableOf, type IncludedObject } from "./table.ts";

/** In which form a client wants objects, from its `Accept` header and query. */
export interface Representation {
  as: "Object" | "Table" | "PartialObjectMetadata";
  include: IncludedObject;
}

/**
 * The first form of an `Accept` header that is served. Protobuf is answered with JSON: clients decode by the answer's
 * Content-Type.
 */
export function negotiate(accept: string | undefined, query: URLSearchParams): Representation {
  const included = query.get("includeObject");
  const include = included === "None" || included === "Object" ? included : "Metadata";
  for (const range of (accept ?? "").split(",")) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim());
    if (!/^(application\/(json|yaml|vnd\.kubernetes\.protobuf|cbor|\*)|\*\/\*)$/.test(type)) continue;
    const as = parameters.find((parameter) => parameter.startsWith("as="))?.slice(3);
    if (as === undefined) return { as: "Object", include };
    if (as === "Table" && parameters.includes("v=v1")) return { as, include };
    if (as.startsWith("PartialObjectMetadata")) return { as: "PartialObjectMetadata", include };
  }
  return { as: "Object", include };
}

/** An object in the version that was asked for; versions of one resource share their storage. */
export function present(resource: Resource, object: JsonObject): JsonObject {
  const apiVersion = apiVersionOf(resource);
  if (object["apiVersion"] === apiVersion) return object;
  return resource.group === "events.k8s.io" ? toEventsGroup(object) : { ...object, apiVersion };
}

/** An object of a client in the version that is stored. */
export function received(resource: Resource, body: JsonObject): JsonObject {
  return resource.group === "events.k8s.io" ? toCoreEvent(body) : body;
}

function partial(object: JsonObject): JsonObject {
  return { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: metadataOf(object) };
}

const encodedItems = new WeakMap<JsonObject, string>();

/** Built-in kinds leave apiVersion and kind out of the items of a list, as kube-apiserver does. Encoded once. */
function encodedItem(resource: Resource, object: JsonObject): string {
  const item = present(resource, object);
  let text = encodedItems.get(item);
  if (text === undefined) {
    text = JSON.stringify(resource.custom === undefined ? without(item, "kind", "apiVersion") : item);
    encodedItems.set(item, text);
  }
  return text;
}

/** One object as JSON text. */
export function encodeObject(resource: Resource, object: JsonObject, wanted: Representation): string {
  const shown = present(resource, object);
  if (wanted.as === "PartialObjectMetadata") return JSON.stringify(partial(shown));
  if (wanted.as === "Object") return JSON.stringify(shown);
  const metadata = { resourceVersion: textAt(metadataOf(object), "resourceVersion") ?? "" };
  return JSON.stringify(tableOf(resource, [object], { metadata, include: wanted.include, now: new Date() }));
}

/** A list as JSON text. */
export function encodeList(
  resource: Resource,
  { objects, metadata }: { objects: readonly JsonObject[]; metadata: JsonObject },
  wanted: Representation,
): string {
  if (wanted.as === "Table") {
    const shown = metadata["continue"] === "" ? without(metadata, "continue") : metadata;
    return JSON.stringify(
      tableOf(resource, objects, { metadata: shown, include: wanted.include, now: new Date() }),
    );
  }
  if (wanted.as === "PartialObjectMetadata") {
    const items = objects.map((object) => partial(object));
    const head = { kind: "PartialObjectMetadataList", apiVersion: "meta.k8s.io/v1" };
    return JSON.stringify({ ...head, metadata, items });
  }
  const head = JSON.stringify({ kind: resource.listKind, apiVersion: apiVersionOf(resource), metadata });
  const items = objects.map((object) => encodedItem(resource, object));
  return `${head.slice(0, -1)},"items":[${items.join(",")}]}`;
}

/** One line of a watch. */
export function encodeFrame(type: string, object: string): string {
  return `{"type":"${type}","object":${object}}\n`;
}

/** The line for one change, encoded once for all watchers that want the same form. */
export function changeFrame(
  resource: Resource,
  { change, type, object }: { change: Change; type: ChangeType; object: JsonObject },
  wanted: Representation,
): string {
  const key = `${type} ${apiVersionOf(resource)} ${wanted.as} ${wanted.include}`;
  let frame = change.frames.get(key);
  if (frame === undefined) {
    frame = encodeFrame(type, encodeObject(resource, object, wanted));
    change.frames.set(key, frame);
  }
  return frame;
}

/** The line that tells a watcher how far it has come. */
export function bookmarkFrame(
  resource: Resource,
  { version, initialEnd }: { version: number; initialEnd: boolean },
  wanted: Representation,
): string {
  const metadata: JsonObject = {
    resourceVersion: String(version),
    creationTimestamp: null,
    ...(initialEnd ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}),
  };
  if (wanted.as === "Table") {
    return encodeFrame(
      "BOOKMARK",
      JSON.stringify(tableOf(resource, [], { metadata, include: "None", now: new Date() })),
    );
  }
  const [kind, apiVersion] =
    wanted.as === "Object"
      ? [resource.kind, apiVersionOf(resource)]
      : ["PartialObjectMetadata", "meta.k8s.io/v1"];
  return encodeFrame("BOOKMARK", JSON.stringify({ kind, apiVersion, metadata }));
}
