import { readFileSync } from "node:fs";
import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import { Agent, createServer, request } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { text } from "node:stream/consumers";
import { Faults, type ActiveRule, type Fault, type Range, type Rule } from "./faults.ts";
import { writeKubeconfig, type ApiAccess, type Cluster } from "./cluster.ts";

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
  const { fault, reset, draw } = exchange;
  switch (fault?.kind) {
    case "answer":
      answer(exchange, fault).catch(reset);
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
  410: "Expired",
  429: "TooManyRequests",
  500: "InternalError",
  503: "ServiceUnavailable",
} as const;

async function answer(
  { incoming, outgoing }: Exchange,
  { status, retryAfterSeconds, repeats }: Extract<Fault, { kind: "answer" }>,
): Promise<void> {
  const reason = reasons[status];
  const sent = repeats === true ? `: ${await text(incoming)}` : "";
  const body = {
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    message: `fault proxy: ${reason}${sent}`,
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
