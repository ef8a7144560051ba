import { objectAt, textAt, without, type Json, type JsonObject } from "./objects.ts";

/** Core event field on the left, events.k8s.io field on the right. */
const renamed: readonly [string, string][] = [
  ["involvedObject", "regarding"],
  ["message", "note"],
  ["source", "deprecatedSource"],
  ["firstTimestamp", "deprecatedFirstTimestamp"],
  ["lastTimestamp", "deprecatedLastTimestamp"],
  ["count", "deprecatedCount"],
  ["reportingComponent", "reportingController"],
];

function rename(event: JsonObject, pairs: readonly (readonly [string, string])[]): JsonObject {
  const names = new Map(pairs);
  const entries = Object.entries(event).map(([key, value]): [string, Json] => [names.get(key) ?? key, value]);
  return Object.fromEntries(entries);
}

/** A core/v1 Event as events.k8s.io/v1 shows it. */
export function toEventsGroup(event: JsonObject): JsonObject {
  const shown = { ...rename(event, renamed), apiVersion: "events.k8s.io/v1" };
  return Object.fromEntries(Object.entries(shown).filter(([, value]) => value !== ""));
}

/** An events.k8s.io/v1 Event as core/v1 stores it. */
export function toCoreEvent(event: JsonObject): JsonObject {
  const core = rename(
    event,
    renamed.map(([left, right]) => [right, left] as const),
  );
  const instance = textAt(core, "reportingInstance");
  const component = textAt(core, "reportingComponent");
  const filled = objectAt(core, "source") ?? (component === undefined ? {} : { component });
  return {
    ...without(core, "source"),
    apiVersion: "v1",
    source: filled,
    ...(instance === undefined ? {} : { reportingInstance: instance }),
  };
}
