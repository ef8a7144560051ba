import { createHash } from "node:crypto";
import { events, type Kube, type KubeObject } from "./kube-api.ts";

/** What happened to an object, for `kubectl describe`. */
export interface ObjectEvent {
  type: "Normal" | "Warning";
  /** One word in camel case: an error code or an outcome. */
  reason: string;
  /** Names keys, never values. */
  message: string;
}

/** Writes events one after another, behind everything else: they are news, and must not slow or fail a reconcile. */
export interface EventRecorder {
  record(object: KubeObject, event: ObjectEvent): void;
  /** Resolves when what was recorded so far is written or given up. */
  flush(): Promise<void>;
}

/** Beyond this backlog the oldest news is dropped: the condition says the same, and memory is bounded. */
const longestBacklog = 5_000;
const rememberedEvents = 2_000;
/** Several at a time keep pace with the workers without crowding them out. */
const writers = 2;

interface Pending {
  object: KubeObject;
  event: ObjectEvent;
}

/**
 * An event equal to an earlier one raises that one's count, as the Kubernetes recorder does.
 * @param onDropped called for each event that was given up
 */
export function createEventRecorder(
  kube: Kube,
  options: { component: string; now: () => Date; onDropped: () => void },
): EventRecorder {
  const backlog: Pending[] = [];
  const known = new Map<string, KubeObject>();
  const running = new Set<Promise<void>>();

  const writeNext = async (): Promise<void> => {
    for (let pending = backlog.shift(); pending !== undefined; pending = backlog.shift()) {
      await write(pending).catch(options.onDropped);
    }
  };
  const write = async ({ object, event }: Pending): Promise<void> => {
    const key = identity(object, event);
    const before = known.get(key);
    const at = options
      .now()
      .toISOString()
      .replace(/\.\d+Z$/, "Z");
    const written =
      before === undefined
        ? await kube.create(events, newEvent(object, event, { at, component: options.component, key }))
        : await repeat(kube, before, at);
    known.delete(key);
    if (written === undefined) return write({ object, event });
    known.set(key, written);
    if (known.size > rememberedEvents) known.delete(known.keys().next().value ?? key);
  };
  const start = (): void => {
    if (running.size >= writers) return;
    const run = writeNext().finally(() => running.delete(run));
    running.add(run);
  };
  return {
    record(object, event) {
      backlog.push({ object, event });
      if (backlog.length > longestBacklog) {
        backlog.shift();
        options.onDropped();
      }
      start();
    },
    async flush() {
      while (running.size > 0) await Promise.all(running);
    },
  };
}

function identity(object: KubeObject, { type, reason, message }: ObjectEvent): string {
  const parts = [
    object.kind,
    object.metadata.namespace,
    object.metadata.name,
    object.metadata.uid,
    type,
    reason,
    message,
  ];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

/** @returns the event with its count raised, or `undefined` where it has expired meanwhile */
async function repeat(kube: Kube, before: KubeObject, at: string): Promise<KubeObject | undefined> {
  const count = (typeof before["count"] === "number" ? before["count"] : 1) + 1;
  try {
    return await kube.patch(events, before.metadata, { body: { count, lastTimestamp: at } });
  } catch {
    // Whatever the reason, a new event is as good as a raised count; its own failure is reported.
    return undefined;
  }
}

function newEvent(
  { apiVersion, kind, metadata }: KubeObject,
  { type, reason, message }: ObjectEvent,
  { at, component, key }: { at: string; component: string; key: string },
): KubeObject {
  const { name, namespace, uid, resourceVersion } = metadata;
  const suffix = `${key.slice(0, 8)}${Date.parse(at).toString(16)}`;
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: `${name.slice(0, 230)}.${suffix}`, namespace },
    involvedObject: { apiVersion, kind, name, namespace, uid, resourceVersion },
    type,
    reason,
    message: message.slice(0, 1024),
    source: { component },
    reportingComponent: component,
    reportingInstance: "",
    firstTimestamp: at,
    lastTimestamp: at,
    count: 1,
  };
}
