import {
  collectDefaultMetrics,
  Counter,
  Gauge,
  Histogram,
  Registry,
  type CollectFunction,
} from "prom-client";
import type { KubeObject, RequestRecord } from "./kube-api.ts";

/** How to measure. */
export interface MetricsOptions {
  /** Version of the program. */
  revision: string;
  /** `--metrics-omit-secret-labels`: no series names a namespace or an object. */
  omitSecretLabels?: boolean;
}

/** Why a SealedSecret could not be made a Secret, in upstream's words. */
export type UnsealErrorReason = "fetch" | "status" | "unseal" | "update" | "unmanaged";

/** One answered HTTP request. */
export interface HttpRecord {
  /** The endpoint, not the address as sent. */
  path: string;
  /** Lower case, as upstream's. */
  method: string;
  status: number;
  durationMs: number;
}

const conditionValues = { True: 1, False: -1, Unknown: 0 } as const;
const instanceLabel = "app.kubernetes.io/instance";
/** Seconds: from an object that needs no work to one that waits for a slow API server. */
const reconcileBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

interface ConditionLabels {
  namespace: string;
  name: string;
  condition: string;
  ss_app_kubernetes_io_instance: string;
}

/** All metrics of the controller: upstream's under their own names, ours under `sealwright_`, and those of the process. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #omitSecretLabels: boolean;
  readonly #upstream = upstreamMetrics(this.#registry);
  readonly #own = ownMetrics(this.#registry);
  /** By object and then by condition: the labels of the series that is exported. */
  readonly #conditions = new Map<string, Map<string, ConditionLabels>>();
  readonly #malformedKeys = new Set<string>();
  readonly #watches = new Map<string, () => number>();
  #queueLength: () => number = () => 0;
  #leads: () => boolean = () => false;
  #newestKeyExpiry: Date | undefined;

  constructor({ revision, omitSecretLabels = false }: MetricsOptions) {
    this.#omitSecretLabels = omitSecretLabels;
    this.#upstream.buildInfo.set({ revision }, 1);
    collectDefaultMetrics({ register: this.#registry });
    this.#gauge("queue_depth", "objects that wait for their turn", (gauge) => gauge.set(this.#queueLength()));
    this.#gauge("leader", "1 while this replica writes", (gauge) => gauge.set(this.#leads() ? 1 : 0));
    this.#gauge("key_secrets_malformed", "key Secrets that cannot be read and are skipped", (gauge) =>
      gauge.set(this.#malformedKeys.size),
    );
    this.#gauge("sealing_key_expiry_seconds", "time until the newest certificate expires", (gauge) => {
      const expiry = this.#newestKeyExpiry;
      if (expiry !== undefined) gauge.set((expiry.getTime() - Date.now()) / 1000);
    });
    this.#gauge(
      "watch_last_activity_seconds",
      "time since a watch was last heard of",
      (gauge) => {
        for (const [resource, lastActivity] of this.#watches) {
          gauge.set({ resource }, (performance.now() - lastActivity()) / 1000);
        }
      },
      ["resource"],
    );
  }

  /** The text that Prometheus reads, and its content type. */
  async exposition(): Promise<{ text: string; contentType: string }> {
    return { text: await this.#registry.metrics(), contentType: this.#registry.contentType };
  }

  /** One pass over a SealedSecret began. */
  unsealRequested(): void {
    this.#upstream.unsealRequests.inc();
  }

  /** One pass over a SealedSecret failed. */
  unsealError(reason: UnsealErrorReason, namespace: string): void {
    this.#upstream.unsealErrors.inc({ reason, namespace: this.#omitSecretLabels ? "" : namespace });
  }

  /** The state of one condition of one object. */
  condition({ metadata }: KubeObject, condition: string, status: keyof typeof conditionValues): void {
    if (this.#omitSecretLabels) return;
    const { namespace = "", name, labels: own = {} } = metadata;
    const labels = { namespace, name, condition, ss_app_kubernetes_io_instance: own[instanceLabel] ?? "" };
    const exported = this.#conditionsOf(namespace, name);
    const before = exported.get(condition);
    // The instance label may have changed: an object has one series for each condition.
    if (before !== undefined) this.#upstream.conditionInfo.remove({ ...before });
    exported.set(condition, labels);
    this.#upstream.conditionInfo.set(labels, conditionValues[status]);
  }

  /** Drops every series of a deleted object. */
  removeObject(namespace: string, name: string): void {
    for (const labels of this.#conditionsOf(namespace, name).values()) {
      this.#upstream.conditionInfo.remove({ ...labels });
    }
    this.#conditions.delete(`${namespace}/${name}`);
  }

  /** One HTTP request was answered. */
  httpRequest({ path, method, status, durationMs }: HttpRecord): void {
    this.#upstream.httpRequests.inc({ path, method, code: String(status) });
    this.#upstream.httpDuration.observe({ path, method }, durationMs / 1000);
  }

  /** One object was worked on. */
  reconciled(kind: string, result: "ok" | "error", durationMs: number): void {
    this.#own.reconciles.inc({ kind, result });
    this.#own.reconcileDuration.observe({ kind }, durationMs / 1000);
  }

  /** A live object was found to be another than it should, and was healed. */
  drift(kind: string, change: "data" | "metadata" | "deleted"): void {
    this.#own.drifts.inc({ kind, change });
  }

  /** An object's wait for its turn, in ms. */
  queueLatency(waitedMs: number): void {
    this.#own.queueLatency.observe(waitedMs / 1000);
  }

  /** Where to read the queue's length at each scrape. */
  observeQueue(length: () => number): void {
    this.#queueLength = length;
  }

  /** Where to read, at each scrape, whether this replica is the one that writes. */
  observeLeadership(leads: () => boolean): void {
    this.#leads = leads;
  }

  /** Where to read, at each scrape, when a watch was last heard of: ms of `performance.now()`. */
  observeWatch(resource: string, lastActivity: () => number): void {
    this.#watches.set(resource, lastActivity);
  }

  /** One request to the API server ended. */
  apiRequest({ verb, resource, status }: Pick<RequestRecord, "verb" | "resource" | "status">): void {
    this.#own.apiRequests.inc({ verb, resource, code: String(status) });
  }

  /** The event could not be delivered. */
  eventDropped(): void {
    this.#own.eventsDropped.inc();
  }

  /** How many sealing keys there are, and when the newest one's certificate expires. */
  sealingKeys(count: number, newestExpiry: Date | undefined): void {
    this.#own.sealingKeys.set({ state: "newest" }, Math.min(count, 1));
    this.#own.sealingKeys.set({ state: "older" }, Math.max(count - 1, 0));
    this.#newestKeyExpiry = newestExpiry;
  }

  /** Whether a key Secret can be read. */
  keySecretMalformed(name: string, isMalformed: boolean): void {
    if (isMalformed) this.#malformedKeys.add(name);
    else this.#malformedKeys.delete(name);
  }

  #conditionsOf(namespace: string, name: string): Map<string, ConditionLabels> {
    const key = `${namespace}/${name}`;
    const known = this.#conditions.get(key) ?? new Map<string, ConditionLabels>();
    this.#conditions.set(key, known);
    return known;
  }

  /** A gauge that is read off at each scrape. */
  #gauge(name: string, help: string, read: (gauge: Gauge) => void, labelNames: string[] = []): void {
    const collect: CollectFunction<Gauge> = function (this: Gauge) {
      this.reset();
      read(this);
    };
    new Gauge({ name: `sealwright_${name}`, help, labelNames, collect, registers: [this.#registry] });
  }
}

/** @see the Sealed Secrets controller's metrics: dashboards and alerts go by these names and labels */
function upstreamMetrics(registry: Registry) {
  const named = <const Label extends string>(name: string, help: string, labelNames: Label[]) => ({
    name: `sealed_secrets_controller_${name}`,
    ...{ help, labelNames, registers: [registry] },
  });
  return {
    buildInfo: new Gauge(named("build_info", "version of the program", ["revision"])),
    unsealRequests: new Counter(named("unseal_requests_total", "passes over SealedSecrets", [])),
    unsealErrors: new Counter(
      named("unseal_errors_total", "passes over SealedSecrets that failed", ["reason", "namespace"]),
    ),
    conditionInfo: new Gauge(
      named("condition_info", "state of a condition: 1 true, 0 unknown, -1 false", [
        "namespace",
        "name",
        "condition",
        "ss_app_kubernetes_io_instance",
      ]),
    ),
    httpRequests: new Counter(named("http_requests_total", "answered requests", ["path", "code", "method"])),
    httpDuration: new Histogram(
      named("http_request_duration_seconds", "time to answer a request", ["path", "method"]),
    ),
  };
}

function ownMetrics(registry: Registry) {
  const named = <const Label extends string>(name: string, help: string, labelNames: Label[]) => ({
    name: `sealwright_${name}`,
    ...{ help, labelNames, registers: [registry] },
  });
  const buckets = reconcileBuckets;
  return {
    reconciles: new Counter(named("reconcile_total", "objects worked on", ["kind", "result"])),
    reconcileDuration: new Histogram({
      ...named("reconcile_duration_seconds", "time to work on one object", ["kind"]),
      buckets,
    }),
    drifts: new Counter(named("drift_total", "live objects that were found changed", ["kind", "change"])),
    queueLatency: new Histogram({
      ...named("queue_latency_seconds", "time that an object waited for its turn", []),
      buckets,
    }),
    apiRequests: new Counter(
      named("api_requests_total", "requests to the API server", ["verb", "resource", "code"]),
    ),
    eventsDropped: new Counter(named("events_dropped_total", "events that could not be delivered", [])),
    sealingKeys: new Gauge(named("sealing_keys", "sealing keys in use", ["state"])),
  };
}
