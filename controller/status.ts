import { isDeepStrictEqual } from "node:util";
import type { SecretError } from "../formats/errors.ts";
import { driftKinds, driftSentence, type Drift } from "./drift.ts";
import type { EventRecorder, ObjectEvent } from "./events.ts";
import type { Kube, KubeObject, Resource } from "./kube-api.ts";

/** What became of one object in one pass. */
export type Outcome =
  | { result: "created" | "updated" | "unchanged"; drift?: Drift | undefined }
  | { result: "failed"; error: SecretError };

/** A condition as SealedSecret's status holds it. */
export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  /** RFC 3339, whole seconds. */
  lastUpdateTime: string;
  /** RFC 3339; moves only when `status` does. */
  lastTransitionTime: string;
  reason?: string;
  message?: string;
}

/** Failures that pass by themselves: the object is not at fault, and its condition stays as it is. */
const passing = ["Conflict", "Throttled", "RemoteUnavailable", "NotLeader"];

/** The metrics that an outcome feeds. */
export interface OutcomeMetrics {
  unsealError(reason: "fetch" | "status" | "unseal" | "update" | "unmanaged", namespace: string): void;
  drift(kind: string, change: "data" | "metadata" | "deleted"): void;
  condition(object: KubeObject, condition: string, status: Condition["status"]): void;
}

/** Where outcomes go. */
export interface Reporter {
  kube: Kube;
  resource: Resource;
  events: EventRecorder;
  metrics: OutcomeMetrics;
  log: { info: (message: string) => void };
  now: () => Date;
  /** `--update-status` */
  updatesStatus: boolean;
}

/**
 * Turns an outcome into conditions, events, metrics and log lines: the only place that does.
 * @throws SecretError as {@link Kube} where the status cannot be written
 */
export async function report(object: KubeObject, outcome: Outcome, reporter: Reporter): Promise<void> {
  count(object, outcome, reporter.metrics);
  if (outcome.result === "failed" && passing.includes(outcome.error.code)) return;
  const status = nextStatus(object, outcome, reporter.now());
  for (const event of eventsFor(object, outcome)) {
    reporter.events.record(object, event);
    reporter.log.info(echo(object, event));
  }
  for (const condition of status.conditions)
    reporter.metrics.condition(object, condition.type, condition.status);
  if (reporter.updatesStatus && !sameStatus(object["status"], status)) {
    await reporter.kube.updateStatus(reporter.resource, { ...object, status });
  }
}

/** An event as the Kubernetes recorder logs it, to the letter: people search their logs for it. */
function echo({ apiVersion, kind, metadata }: KubeObject, { type, reason, message }: ObjectEvent): string {
  const { namespace, name, uid, resourceVersion } = metadata;
  const fields = {
    Kind: kind,
    Namespace: namespace,
    Name: name,
    UID: uid,
    APIVersion: apiVersion,
    ResourceVersion: resourceVersion,
    FieldPath: "",
  };
  const reference = Object.entries(fields).map(([field, value]) => `${field}:"${value ?? ""}"`);
  return `Event(v1.ObjectReference{${reference.join(", ")}}): type: '${type}' reason: '${reason}' ${message}`;
}

/** A SealedSecret's status after an outcome. `Synced` stays the first condition, since Argo CD reads that one. */
export function nextStatus(
  object: KubeObject,
  outcome: Outcome,
  now: Date,
): { observedGeneration: number | undefined; conditions: Condition[] } {
  const failed = outcome.result === "failed" ? outcome.error : undefined;
  const before = conditionsOf(object);
  const at = now.toISOString().replace(/\.\d+Z$/, "Z");
  const make = (type: string, status: Condition["status"]): Condition => {
    const last = before.find((condition) => condition.type === type);
    const reason = failed?.code ?? "Unsealed";
    const message = failed === undefined ? "" : sentence(failed);
    const moved = last?.status !== status;
    const same = !moved && last.reason === reason && (last.message ?? "") === message && observed(object);
    return {
      type,
      status,
      lastUpdateTime: same ? last.lastUpdateTime : at,
      lastTransitionTime: moved ? at : last.lastTransitionTime,
      reason,
      message,
    };
  };
  const state = failed === undefined ? "True" : "False";
  const conditions = [make("Synced", state), make("Ready", state)];
  if (failed?.retry === "never") conditions.push(make("Stalled", "True"));
  const foreign = before.filter(({ type }) => !["Synced", "Ready", "Stalled"].includes(type));
  return { observedGeneration: object.metadata.generation, conditions: [...conditions, ...foreign] };
}

/** Whether the object's status speaks of its present generation and says that its Secret is right. */
export function isSynced(object: KubeObject): boolean {
  return (
    observed(object) &&
    conditionsOf(object).some(({ type, status }) => type === "Synced" && status === "True")
  );
}

function observed(object: KubeObject): boolean {
  const status = object["status"] as { observedGeneration?: number } | undefined;
  return status?.observedGeneration === object.metadata.generation;
}

function conditionsOf(object: KubeObject): Condition[] {
  const status = object["status"] as { conditions?: Condition[] } | undefined;
  return status?.conditions ?? [];
}

/** Times alone are no reason to write: a write wakes every watcher. */
function sameStatus(before: unknown, after: ReturnType<typeof nextStatus>): boolean {
  const timeless = (status: ReturnType<typeof nextStatus>): unknown => ({
    observedGeneration: status.observedGeneration,
    conditions: status.conditions.map(({ type, status: state, reason, message }) => ({
      type,
      state,
      reason,
      message: message ?? "",
    })),
  });
  const written = before as ReturnType<typeof nextStatus> | undefined;
  return written?.conditions !== undefined && isDeepStrictEqual(timeless(written), timeless(after));
}

function sentence({ message, hint }: SecretError): string {
  return hint === undefined ? message : `${message}: ${hint}`;
}

function eventsFor(object: KubeObject, outcome: Outcome): ObjectEvent[] {
  if (outcome.result === "failed") {
    const { error } = outcome;
    const unsealed = isUnsealError(error);
    const reason = unsealed ? "ErrUnsealFailed" : "ErrUpdateFailed";
    const message = `${unsealed ? "Failed to unseal: " : ""}${sentence(error)} [${error.code}]`;
    return [{ type: "Warning", reason, message }];
  }
  const healed: ObjectEvent[] =
    outcome.drift === undefined
      ? []
      : [{ type: "Warning", reason: "DriftHealed", message: driftSentence(outcome.drift) }];
  if (outcome.result === "unchanged" && isSynced(object)) return healed;
  return [...healed, { type: "Normal", reason: "Unsealed", message: "SealedSecret unsealed successfully" }];
}

/** Failures of the object's own content, as opposed to failures of the write. */
function isUnsealError({ code }: SecretError): boolean {
  return [
    "CannotUnseal",
    "Altered",
    "InvalidSealedSecret",
    "InvalidSecret",
    "InvalidInput",
    "TemplateUnsupported",
  ].includes(code);
}

function count(object: KubeObject, outcome: Outcome, metrics: OutcomeMetrics): void {
  const { namespace = "" } = object.metadata;
  if (outcome.result === "failed") {
    const { error } = outcome;
    const reason = error.code === "NotManaged" ? "unmanaged" : isUnsealError(error) ? "unseal" : "update";
    metrics.unsealError(reason, namespace);
    return;
  }
  if (outcome.drift === undefined) return;
  for (const kind of outcome.result === "created" ? (["deleted"] as const) : driftKinds(outcome.drift)) {
    metrics.drift(object.kind ?? "", kind);
  }
}
