import { readFileSync } from "node:fs";
import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import { Agent, createServer, request } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { writeKubeconfig, type ApiAccess, type Cluster } from "./cluster.ts";

/** What happens to a request. Byte counts are of the response's body; a range is drawn from with the proxy's seed. */
export type Fault =
  /** Answered by the proxy with a Kubernetes Status; never reaches the server. */
  | { kind: "answer"; status: 403 | 409 | 429 | 500 | 503; retryAfterSeconds?: number }
  /** Reaches the server that much later. */
  | { kind: "delay"; milliseconds: Range }
  /** The connection is reset before anything is sent on. */
  | { kind: "drop" }
  /** Reaches the server; the connection is reset before the answer comes back. */
  | { kind: "lose-answer" }
  /** The connection is reset in the middle of the answer, such as inside a JSON value. */
  | { kind: "cut"; afterBytes: Range }
  /** Our side of the connection is closed in the middle of the answer (FIN), the other stays open. */
  | { kind: "half-close"; afterBytes: Range }
  /** The answer stops in the middle; the connection stays open and silent. */
  | { kind: "stall"; afterBytes: Range }
  /** The answer comes at this rate. */
  | { kind: "trickle"; bytesPerSecond: number };

/** From and to, both included, or one fixed number. */
export type Range = number | readonly [number, number];

/** Which requests a fault befalls. */
export interface Rule {
  fault: Fault;
  /** A Kubernetes verb: get, list, watch, create, update, patch, delete, deletecollection; every verb if absent. */
  verb?: string;
  /** Tested on the path with its query; every path if absent. */
  path?: RegExp;
  /** Share of the matching requests, 0 to 1; all if absent. */
  probability?: number;
  /** After so many hits the rule is spent; never if absent. */
  times?: number;
}

/** A rule in force. */
export interface ActiveRule {
  /** How many requests it has befallen. */
  readonly hits: number;
  remove(): void;
}

/** A proxy in front of an API server that breaks what it is told to break. */
export interface FaultProxy extends ApiAccess {
  readonly kubeconfig: string;
  /** Repeats the draws of an earlier run; print it when a test fails. */
  readonly seed: number;
  /** Every request seen so far, as `verb path`. */
  readonly requests: readonly string[];
  /** Adds a rule; of the rules that match a request, the oldest is applied. */
  add(rule: Rule): ActiveRule;
  /** Takes all rules away. */
  clear(): void;
  /** Holds every request and every byte of an answer; connections stay open. */
  freeze(): void;
  /** Lets the held bytes go. */
  thaw(): void;
  /** Resets every open connection. */
  cutAll(): void;
  stop(): Promise<void>;
}

/**
 * Starts a proxy that ends TLS with the API server's own certificate, so that clients see what they see without it.
 * HTTP/1.1 only; upgrades (exec, port-forward) are refused.
 */
export async function startFaultProxy(
  cluster: Pick<Cluster, "url" | "caFile" | "token" | "serverCertificate">,
  seed: number = Math.floor(Math.random() * 2 ** 31),
): Promise<FaultProxy> {
  const faults = new Faults(seed);
  const gate = new Gate();
  /** The TCP connections, by the client's port: only these, not the TLS ones in them, can be reset. */
  const connections = new Map<number | undefined, Socket>();
  const ca = readFileSync(cluster.caFile);
  const agent = new Agent({ keepAlive: true, ca });
  const server = createServer({
    cert: readFileSync(cluster.serverCertificate.certFile),
    key: readFileSync(cluster.serverCertificate.keyFile),
  });
  server.on("connection", (socket: Socket) => {
    const { remotePort } = socket;
    connections.set(remotePort, socket);
    socket.once("close", () => connections.delete(remotePort));
  });
  server.on("request", (incoming, outgoing) => {
    const fault = faults.befalling(incoming);
    const { remotePort } = incoming.socket;
    const exchange: Exchange = {
      incoming,
      outgoing,
      fault,
      forward: () => {
        const { method, headers } = incoming;
        return request(new URL(incoming.url ?? "/", cluster.url), { method, headers, agent });
      },
      reset: () => connections.get(remotePort)?.resetAndDestroy(),
      gate,
      draw: (range) => faults.draw(range),
    };
    void gate.pass().then(() => handle(exchange));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();

  const { port } = server.address() as AddressInfo;
  const access = { url: `https://127.0.0.1:${port}`, caFile: cluster.caFile, token: cluster.token };
  const cutAll = (): void => connections.forEach((socket) => socket.resetAndDestroy());
  return {
    ...access,
    kubeconfig: writeKubeconfig(join(dirname(cluster.caFile), `kubeconfig-faults-${port}`), access),
    seed,
    requests: faults.requests,
    add: (rule) => faults.add(rule),
    clear: () => faults.clear(),
    freeze: () => gate.close(),
    thaw: () => gate.open(),
    cutAll,
    stop: () =>
      new Promise((resolve) => {
        gate.open();
        server.close(() => resolve());
        cutAll();
        agent.destroy();
      }),
  };
}

/** The rules, in order, and the one source of chance. */
class Faults {
  readonly requests: string[] = [];
  readonly #rules = new Set<{ rule: Rule; hits: number }>();
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  add(rule: Rule): ActiveRule {
    const active = { rule, hits: 0 };
    this.#rules.add(active);
    return {
      get hits() {
        return active.hits;
      },
      remove: () => void this.#rules.delete(active),
    };
  }

  clear(): void {
    this.#rules.clear();
  }

  befalling({ method = "GET", url = "/" }: IncomingMessage): Fault | undefined {
    const verb = verbOf(method, url);
    this.requests.push(`${verb} ${url}`);
    for (const active of this.#rules) {
      const { rule, hits } = active;
      if (rule.verb !== undefined && rule.verb !== verb) continue;
      if (rule.path?.test(url) === false || hits >= (rule.times ?? Infinity)) continue;
      if (rule.probability !== undefined && this.#chance() >= rule.probability) continue;
      active.hits++;
      return rule.fault;
    }
    return undefined;
  }

  draw(range: Range): number {
    if (typeof range === "number") return range;
    const [from, to] = range;
    return from + Math.floor(this.#chance() * (to - from + 1));
  }

  /** Uniform in [0, 1): a 32-bit Weyl sequence, mixed (splitmix32). */
  #chance(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let mixed = this.#state ^ (this.#state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  }
}

/** The Kubernetes verb of a request. */
export function verbOf(method: string, url: string): string {
  const { pathname, searchParams } = new URL(url, "https://localhost");
  const named = isNamed(pathname);
  switch (method) {
    case "POST":
      return "create";
    case "PUT":
      return "update";
    case "PATCH":
      return "patch";
    case "DELETE":
      return named ? "delete" : "deletecollection";
    default:
      if (/^(1|true)$/.test(searchParams.get("watch") ?? "")) return "watch";
      return named ? "get" : "list";
  }
}

/** Whether the path names one object, or is none of the API's collections at all. */
function isNamed(pathname: string): boolean {
  const inGroup = pathname.match(/^\/(?:api\/[^/]+|apis\/[^/]+\/[^/]+)\/(.+)$/)?.[1];
  if (inGroup === undefined) return true;
  const parts = inGroup.replace(/\/$/, "").split("/");
  const isInNamespace = parts[0] === "namespaces" && parts.length > 2;
  return (isInNamespace ? parts.length - 2 : parts.length) > 1;
}

/** A gate that holds whoever passes while it is closed. */
class Gate {
  #opened: Promise<void> = Promise.resolve();
  #open: () => void = () => undefined;

  close(): void {
    this.open();
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#opened = promise;
    this.#open = () => resolve(undefined);
  }

  open(): void {
    this.#open();
  }

  pass(): Promise<void> {
    return this.#opened;
  }
}

interface Exchange {
  incoming: IncomingMessage;
  outgoing: ServerResponse;
  fault: Fault | undefined;
  /** Opens the request to the server. */
  forward: () => ClientRequest;
  /** Resets the client's connection. */
  reset: () => void;
  gate: Gate;
  draw: (range: Range) => number;
}

function handle(exchange: Exchange): void {
  const { outgoing, fault, reset, draw } = exchange;
  switch (fault?.kind) {
    case "answer":
      answer(outgoing, fault.status, fault.retryAfterSeconds);
      break;
    case "drop":
      reset();
      break;
    case "delay":
      setTimeout(() => relay(exchange), draw(fault.milliseconds));
      break;
    default:
      relay(exchange);
  }
}

const reasons = {
  403: "Forbidden",
  409: "Conflict",
  429: "TooManyRequests",
  500: "InternalError",
  503: "ServiceUnavailable",
} as const;

function answer(outgoing: ServerResponse, status: keyof typeof reasons, retryAfterSeconds?: number): void {
  const reason = reasons[status];
  const body = {
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    message: `fault proxy: ${reason}`,
    reason,
    code: status,
    ...(retryAfterSeconds === undefined ? {} : { details: { retryAfterSeconds } }),
  };
  const retryAfter = retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) };
  outgoing.writeHead(status, { "content-type": "application/json", ...retryAfter });
  outgoing.end(JSON.stringify(body));
}

function relay(exchange: Exchange): void {
  const { incoming, outgoing, fault, forward, reset } = exchange;
  // A client that gave up while its request was held has not sent it.
  if (outgoing.destroyed) return;
  const upstream = forward();
  // What breaks behind the proxy breaks in front of it, and the other way round.
  upstream.on("error", reset);
  outgoing.on("close", () => upstream.destroy());
  upstream.on("response", (response) => {
    response.on("error", reset);
    if (fault?.kind === "lose-answer") {
      reset();
      return;
    }
    outgoing.writeHead(response.statusCode ?? 502, response.headers);
    outgoing.flushHeaders();
    response.pipe(damage(exchange)).pipe(outgoing);
  });
  incoming.pipe(upstream);
}

/** The stream that the answer's body passes: it holds at the gate, and breaks as the fault says. */
function damage({ incoming, fault, reset, gate, draw }: Exchange): Transform {
  let left = fault !== undefined && "afterBytes" in fault ? draw(fault.afterBytes) : Infinity;
  const strike = (): void => {
    if (fault?.kind === "cut") reset();
    if (fault?.kind === "half-close") incoming.socket.end();
  };
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const rate = fault?.kind === "trickle" ? fault.bytesPerSecond : Infinity;
      void gate
        .pass()
        .then(() => new Promise((resolve) => setTimeout(resolve, (chunk.length / rate) * 1000)))
        .then(() => {
          this.push(chunk.subarray(0, left));
          left -= chunk.length;
          if (left >= 0) done();
          // Without the call back the rest of the answer is held for good. The bytes before it go out first.
          else setTimeout(strike, 10);
        });
    },
  });
}
