import { setTimeout as sleep } from "node:timers/promises";
import {
  fieldManager,
  type CallOptions,
  type Kube,
  type KubeList,
  type KubeObject,
  type ListOptions,
  type ObjectRef,
  type Patch,
  type Preconditions,
  type RequestRecord,
  type Resource,
  type WatchEvent,
  type WatchOptions,
} from "./kube-api.ts";
import { accept2xx, readList, readObject, retryAfter, typed } from "./kube-answer.ts";
import { type Call, describe, isObjectMissing, parseStatus, refusal, unavailable } from "./kube-error.ts";
import { Limiter } from "./kube-limiter.ts";
import { listQuery, pathOf, watchQuery } from "./kube-path.ts";
import { type Connect, Transport, type WireAnswer, type WireRequest } from "./kube-request.ts";
import { watchEvents } from "./kube-watch.ts";

/** How to build a {@link Kube} on a connection of one's own. */
export interface KubeOptions {
  connect: Connect;
  defaultNamespace?: string | undefined;
  /** For example `sealwright-controller/1.0.0`. */
  userAgent?: string | undefined;
  /** Calls per second, watches apart; absent, zero or negative: no limit. */
  qps?: number | undefined;
  burst?: number | undefined;
  /** Called after each request on the wire, in-place retries included. */
  onRequest?: ((record: RequestRecord) => void) | undefined;
}

const callTimeoutMs = 30_000;
const listTimeoutMs = 120_000;
const watchOpenTimeoutMs = 10_000;
/** A healthy server ends the watch at its timeout; this much later it counts as stalled. */
const watchSlackMs = 8_000;
const maxThrottledTries = 4;
/** A longer Retry-After is left to the caller, whose worker would be blocked. */
const maxInPlaceWaitMs = 5_000;
const metadataAs = (kind: string): string => `application/json;as=${kind};g=meta.k8s.io;v=v1`;

/** What a call adds to its {@link Call}. */
interface Payload extends CallOptions {
  method: WireRequest["method"];
  query?: string;
  accept?: string | undefined;
  body?: unknown;
  contentType?: string;
}

/** The Kubernetes API over plain HTTP. */
export class KubeClient implements Kube {
  readonly defaultNamespace: string | undefined;
  readonly #transport: Transport;
  readonly #limiter: Limiter | undefined;
  readonly #onRequest: (record: RequestRecord) => void;

  constructor(options: KubeOptions) {
    const { qps = 0, burst = 10 } = options;
    this.defaultNamespace = options.defaultNamespace;
    this.#transport = new Transport(options.connect, options.userAgent ?? fieldManager);
    this.#limiter = qps > 0 ? new Limiter(qps, burst) : undefined;
    this.#onRequest = options.onRequest ?? (() => undefined);
  }

  async get(resource: Resource, ref: ObjectRef, options: CallOptions = {}): Promise<KubeObject | undefined> {
    const call: Call = { verb: "get", resource, ref };
    const answer = await this.#send(call, { ...options, method: "GET" });
    if (answer.status === 404 && isObjectMissing(call, parseStatus(answer.body))) return undefined;
    return readObject(call, answer);
  }

  async list(resource: Resource, options: ListOptions = {}): Promise<KubeList> {
    const call: Call = { verb: "list", resource, ref: { namespace: options.namespace } };
    const answer = await this.#send(call, {
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? listTimeoutMs,
      method: "GET",
      query: listQuery(options),
      accept: options.metadataOnly === true ? metadataAs("PartialObjectMetadataList") : undefined,
    });
    return readList(call, answer);
  }

  async *watch(resource: Resource, options: WatchOptions): AsyncGenerator<WatchEvent> {
    const call: Call = { verb: "watch", resource, ref: { namespace: options.namespace } };
    const accept = options.metadataOnly === true ? metadataAs("PartialObjectMetadata") : undefined;
    const start = performance.now();
    const exchange = await this.#recorded(call, start, () =>
      this.#transport.open({
        ...wireOf(call, { method: "GET", query: watchQuery(options), accept, signal: options.signal }),
        timeoutMs: watchOpenTimeoutMs,
        stream: true,
      }),
    );
    try {
      exchange.deadline(undefined);
      if (exchange.status !== 200)
        throw refusal(call, { status: exchange.status, ...retryAfter(exchange.headers) });
      options.onOpen?.();
      const { timeoutSeconds, slackMs = watchSlackMs } = options;
      yield* watchEvents(exchange, call, timeoutSeconds * 1000 + slackMs);
    } finally {
      exchange.close();
    }
  }

  async create(resource: Resource, object: KubeObject, options: CallOptions = {}): Promise<KubeObject> {
    const ref = { namespace: object.metadata.namespace };
    const call: Call = { verb: "create", resource, ref };
    return this.#write(call, { ...options, method: "POST", body: typed(resource, object) });
  }

  async update(resource: Resource, object: KubeObject, options: CallOptions = {}): Promise<KubeObject> {
    const call: Call = { verb: "update", resource, ref: object.metadata };
    return this.#write(call, { ...options, method: "PUT", body: typed(resource, object) });
  }

  async updateStatus(resource: Resource, object: KubeObject, options: CallOptions = {}): Promise<KubeObject> {
    const call: Call = { verb: "update", resource, ref: object.metadata, subresource: "status" };
    return this.#write(call, { ...options, method: "PUT", body: typed(resource, object) });
  }

  async patch(resource: Resource, ref: ObjectRef, patch: Patch & CallOptions): Promise<KubeObject> {
    const { subresource, contentType = "application/merge-patch+json" } = patch;
    const call: Call = { verb: "patch", resource, ref, subresource };
    return this.#write(call, { ...patch, method: "PATCH", contentType });
  }

  async delete(
    resource: Resource,
    ref: ObjectRef,
    options: Preconditions & CallOptions = {},
  ): Promise<boolean> {
    const call: Call = { verb: "delete", resource, ref };
    const { uid, resourceVersion, ...rest } = options;
    const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid, resourceVersion } };
    const answer = await this.#send(call, { ...rest, method: "DELETE", body });
    if (answer.status === 404 && isObjectMissing(call, parseStatus(answer.body))) return false;
    accept2xx(call, answer);
    return true;
  }

  close(): void {
    this.#transport.close();
  }

  async #write(call: Call, payload: Payload): Promise<KubeObject> {
    const query = `?fieldManager=${fieldManager}`;
    return readObject(call, await this.#send(call, { ...payload, query }));
  }

  /** Sends; a 429 is waited out in place a few times, except for a create, which a proxy may have passed on. */
  async #send(call: Call, payload: Payload): Promise<WireAnswer> {
    const wire = wireOf(call, payload);
    for (let tries = 1; ; tries++) {
      await this.#limit(call, payload.signal);
      const answer = await this.#recorded(call, performance.now(), () => this.#transport.send(wire));
      const { retryAfterMs = 1000 } = retryAfter(answer.headers);
      const final = tries === maxThrottledTries || call.verb === "create" || retryAfterMs > maxInPlaceWaitMs;
      if (answer.status !== 429 || final) return answer;
      await pause(retryAfterMs * (1 + Math.random() / 4), { call, signal: payload.signal });
    }
  }

  async #limit(call: Call, signal: AbortSignal | undefined): Promise<void> {
    const ms = this.#limiter?.reserve() ?? 0;
    if (ms > 0) await pause(ms, { call, signal });
  }

  async #recorded<T extends { status: number }>(
    call: Call,
    start: number,
    run: () => Promise<T>,
  ): Promise<T> {
    let status = 0;
    try {
      const answer = await run();
      status = answer.status;
      return answer;
    } finally {
      const resource = call.resource.plural + (call.subresource === undefined ? "" : `/${call.subresource}`);
      this.#onRequest({ verb: call.verb, resource, status, durationMs: performance.now() - start });
    }
  }
}

async function pause(
  ms: number,
  { call, signal }: { call: Call; signal: AbortSignal | undefined },
): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (thrown) {
    throw unavailable(`${describe(call)}: cancelled`, thrown);
  }
}

function wireOf(call: Call, payload: Payload): WireRequest {
  const { method, query = "", accept, body, contentType = "application/json" } = payload;
  return {
    method,
    path: pathOf(call) + query,
    headers: {
      ...(accept === undefined ? {} : { Accept: accept }),
      ...(body === undefined ? {} : { "Content-Type": contentType }),
    },
    body: body === undefined ? undefined : Buffer.from(JSON.stringify(body)),
    timeoutMs: payload.timeoutMs ?? callTimeoutMs,
    signal: payload.signal,
    what: describe(call),
  };
}
