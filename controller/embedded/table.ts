import { jsonPath } from "./json-path.ts";
import {
  field,
  metadataOf,
  nameOf,
  objectAt,
  objectsAt,
  textAt,
  type Json,
  type JsonObject,
} from "./objects.ts";
import type { Column, Resource } from "./resources.ts";

type Cell = (object: JsonObject, now: Date) => Json;

interface TableColumn extends Column {
  cell: Cell;
}

/** An age as kubectl prints it: two units while they matter. Milliseconds in. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 0) return seconds < -1 ? "<invalid>" : "0s";
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  const two = (big: number, unit: string, small: number, lesser: string): string =>
    small === 0 ? `${big}${unit}` : `${big}${unit}${small}${lesser}`;
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return two(minutes, "m", seconds % 60, "s");
  if (hours < 3) return `${minutes}m`;
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  if (days < 8) return two(days, "d", hours % 24, "h");
  if (days < 730) return `${days}d`;
  const years = Math.floor(days / 365);
  return days < 365 * 8 ? two(years, "y", days % 365, "d") : `${years}y`;
}

function since(value: Json | undefined, now: Date): string {
  const time = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? "<unknown>" : humanDuration(now.getTime() - time);
}

function column(name: string, cell: Cell, more: Partial<Column> = {}): TableColumn {
  return { name, type: "string", format: "", description: "", priority: 0, ...more, cell };
}

const name = column("Name", nameOf, {
  format: "name",
  description: "Name must be unique within a namespace.",
});
const age = column("Age", (object, now) => since(metadataOf(object)["creationTimestamp"], now), {
  description: "Time since the object was created.",
});
const wide = { priority: 1 };

function count(...keys: string[]): Cell {
  return (object) => keys.reduce((sum, key) => sum + Object.keys(objectAt(object, key) ?? {}).length, 0);
}

function at(path: string, fallback: Json): Cell {
  const read = jsonPath(path);
  return (object) => read(object) ?? fallback;
}

function involved(object: JsonObject): string {
  const target = objectAt(object, "involvedObject");
  return `${(textAt(target, "kind") ?? "").toLowerCase()}/${textAt(target, "name") ?? ""}`;
}

function lastSeen(object: JsonObject, now: Date): string {
  const series = textAt(objectAt(object, "series"), "lastObservedTime");
  return since(series ?? textAt(object, "lastTimestamp") ?? textAt(object, "eventTime"), now);
}

function source(object: JsonObject): string {
  const parts = objectAt(object, "source");
  return textAt(parts, "component") ?? textAt(object, "reportingComponent") ?? "";
}

function portText(object: JsonObject): string {
  const ports = objectsAt(objectAt(object, "spec"), "ports");
  return (
    ports
      .map((port) => `${JSON.stringify(port["port"] ?? null)}/${textAt(port, "protocol") ?? "TCP"}`)
      .join(",") || "<none>"
  );
}

function addresses(object: JsonObject): string {
  const found = objectsAt(object, "subsets").flatMap((subset) =>
    objectsAt(subset, "addresses").flatMap((address) =>
      objectsAt(subset, "ports").map(
        (port) => `${textAt(address, "ip") ?? ""}:${JSON.stringify(port["port"] ?? null)}`,
      ),
    ),
  );
  return found.join(",") || "<none>";
}

const integer = { type: "integer" };
const builtIn: Record<string, readonly TableColumn[]> = {
  "/secrets": [name, column("Type", at(".type", "")), column("Data", count("data")), age],
  "/configmaps": [name, column("Data", count("data", "binaryData")), age],
  "/namespaces": [name, column("Status", at(".status.phase", "")), age],
  "/serviceaccounts": [name, column("Secrets", (o) => objectsAt(o, "secrets").length), age],
  "/endpoints": [name, column("Endpoints", addresses), age],
  "/pods": [
    name,
    column("Ready", () => "0/0"),
    column("Status", at(".status.phase", "")),
    column("Restarts", () => "0"),
    age,
  ],
  "/services": [
    name,
    column("Type", at(".spec.type", "")),
    column("Cluster-IP", at(".spec.clusterIP", "<none>")),
    column("External-IP", () => "<none>"),
    column("Port(s)", portText),
    age,
  ],
  "/events": [
    column("Last Seen", lastSeen),
    column("Type", at(".type", "")),
    column("Reason", at(".reason", "")),
    column("Object", involved),
    column("Subobject", at(".involvedObject.fieldPath", ""), wide),
    column("Source", source, wide),
    column("Message", (object) => (textAt(object, "message") ?? "").trim()),
    column(
      "First Seen",
      (object, now) => since(field(object, "firstTimestamp") ?? field(object, "eventTime"), now),
      wide,
    ),
    column("Count", (object) => field(object, "count") ?? 1, { ...wide, ...integer }),
    column("Name", nameOf, { ...wide, format: "name" }),
  ],
  "coordination.k8s.io/leases": [name, column("Holder", at(".spec.holderIdentity", "")), age],
  "apiextensions.k8s.io/customresourcedefinitions": [
    name,
    column("Created At", at(".metadata.creationTimestamp", ""), { format: "date" }),
  ],
};

function customCell(path: string, type: string): Cell {
  const read = jsonPath(path);
  return (object, now) => {
    const value = read(object) ?? null;
    if (type === "date") return value === null ? null : since(value, now);
    if (type === "string" && value !== null && typeof value !== "string") return JSON.stringify(value);
    return value;
  };
}

function columnsOf(resource: Resource): readonly TableColumn[] {
  if (resource.custom === undefined) return builtIn[resource.storage] ?? [name, age];
  const custom = resource.custom.columns.map((entry) => ({
    ...entry,
    cell: customCell(entry.jsonPath, entry.type),
  }));
  return [name, ...(custom.length > 0 ? custom : [age])];
}

/** What a row carries besides its cells. */
export type IncludedObject = "Metadata" | "None" | "Object";

/** meta.k8s.io/v1 Table of some objects, as `kubectl get` prints them. */
export function tableOf(
  resource: Resource,
  objects: readonly JsonObject[],
  { metadata, include, now }: { metadata: JsonObject; include: IncludedObject; now: Date },
): JsonObject {
  const columns = columnsOf(resource);
  const carried = (object: JsonObject): JsonObject => ({
    kind: "PartialObjectMetadata",
    apiVersion: "meta.k8s.io/v1",
    metadata: metadataOf(object),
  });
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata,
    columnDefinitions: columns.map(({ name, type, format, description, priority }) => ({
      name,
      type,
      format,
      description,
      priority,
    })),
    rows: objects.map((object) => ({
      cells: columns.map((entry) => entry.cell(object, now)),
      ...(include === "None" ? {} : { object: include === "Object" ? object : carried(object) }),
    })),
  };
}
