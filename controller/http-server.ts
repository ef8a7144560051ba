import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { asSecretError, SecretError } from "../formats/errors.ts";
import type { ListenAddress } from "./flag-values.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** What is sent back. */
export interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: string;
}

/** One request on its way. */
export interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  /** Address of the other end of the connection: what no header can claim. */
  peer: string;
  /** Aborts when nobody waits for the answer any more. */
  signal: AbortSignal;
}

/** One endpoint. */
export interface Route {
  methods: readonly string[];
  answer: (exchange: Exchange) => Answer | Promise<Answer>;
  /** Counts in the HTTP metrics. */
  isMeasured?: boolean;
}

/** Bounds on connections. */
export interface ConnectionLimits {
  /** Longest time from the first to the last byte of a request's head. */
  headTimeoutMs: number;
  /** Longest time from the first to the last byte of a request. */
  readTimeoutMs: number;
  /** Longest time from a request's head to the end of the answer. */
  writeTimeoutMs: number;
  keepAliveMs: number;
  connections: number;
  /** So that one peer cannot take all of them. */
  connectionsPerPeer: number;
}

/** What an {@link HttpServer} is told. */
export interface HttpServerOptions {
  listen: ListenAddress;
  /** By exact path. */
  routes: ReadonlyMap<string, Route>;
  limits: ConnectionLimits;
  log: Log;
  metrics: Metrics;
}

const maxHeadBytes = 16 * 1024;
/** How long the rest of a refused body is read and thrown away: closing at once would destroy the answer on its way. */
const lingerMs = 1000;
const text = { "Content-Type": "text/plain; charset=utf-8" };

/** A plain-text answer; a line end is added. */
export function textAnswer(status: number, line: string, headers: Record<string, string> = {}): Answer {
  return { status, headers: { ...text, ...headers }, body: `${line}\n` };
}

/** An HTTP server in which time, connections and memory are bounded for every peer. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #server: Server;
  readonly #connectionsOf = new Map<string, number>();
  #isStopping = false;

  private constructor(options: HttpServerOptions) {
    const { limits } = options;
    this.#options = options;
    const headersTimeout = Math.min(limits.headTimeoutMs, limits.readTimeoutMs);
    this.#server = createServer({
      ...{ headersTimeout, requestTimeout: limits.readTimeoutMs, keepAliveTimeout: limits.keepAliveMs },
      connectionsCheckingInterval: Math.min(1000, headersTimeout),
      maxHeaderSize: maxHeadBytes,
    });
    this.#server.maxConnections = limits.connections;
    const serve = (request: IncomingMessage, response: ServerResponse): void =>
      void this.#serve(request, response);
    this.#server.on("request", serve).on("checkContinue", serve);
    this.#server.on("connection", (socket) => this.#count(socket));
  }

  /** Starts to listen. @throws SecretError `Usage` where the address cannot be used */
  static async start(options: HttpServerOptions): Promise<HttpServer> {
    const http = new HttpServer(options);
    const { host, port } = options.listen;
    await new Promise<void>((resolve, reject) => {
      http.#server.once("error", (cause: NodeJS.ErrnoException) => {
        const hint = "choose another address with --listen-addr or --listen-metrics-addr";
        const message = `cannot listen on ${host ?? ""}:${port} (${cause.code ?? "unknown"})`;
        reject(new SecretError("Usage", message, { cause, hint }));
      });
      http.#server.listen({ port, ...(host === undefined ? {} : { host }) }, resolve);
    });
    return http;
  }

  /** The port listened on. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Takes no more connections and ends when the requests under way have their answers, after `graceMs` in any case. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    const cut = setTimeout(() => this.#server.closeAllConnections(), graceMs);
    await new Promise((resolve) => this.#server.close(resolve));
    clearTimeout(cut);
  }

  #count(socket: Socket): void {
    const peer = peerOf(socket);
    const count = (this.#connectionsOf.get(peer) ?? 0) + 1;
    this.#connectionsOf.set(peer, count);
    socket.once("close", () => {
      const left = (this.#connectionsOf.get(peer) ?? 1) - 1;
      if (left === 0) this.#connectionsOf.delete(peer);
      else this.#connectionsOf.set(peer, left);
    });
    if (count > this.#options.limits.connectionsPerPeer) socket.destroy();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedAt = performance.now();
    const [path = ""] = (request.url ?? "").split("?");
    const route = this.#options.routes.get(path);
    const gone = new AbortController();
    const late = setTimeout(() => request.socket.destroy(), this.#options.limits.writeTimeoutMs);
    request.on("error", () => undefined);
    response.once("close", () => {
      clearTimeout(late);
      gone.abort();
      if (route?.isMeasured !== true || !response.headersSent) return;
      const record = { method: (request.method ?? "").toLowerCase(), status: response.statusCode };
      this.#options.metrics.httpRequest({ path, ...record, durationMs: performance.now() - startedAt });
    });
    const exchange = { request, response, peer: peerOf(request.socket), signal: gone.signal };
    const answer = await this.#answer(route, exchange).catch((thrown: unknown) => this.#failed(path, thrown));
    if (!gone.signal.aborted) this.#send(exchange, answer);
  }

  async #answer(route: Route | undefined, exchange: Exchange): Promise<Answer> {
    if (route === undefined) return textAnswer(404, "404 page not found");
    if (!route.methods.includes(exchange.request.method ?? "")) {
      return textAnswer(405, "Method Not Allowed", { Allow: route.methods.join(", ") });
    }
    return route.answer(exchange);
  }

  #failed(path: string, thrown: unknown): Answer {
    const error = asSecretError(thrown);
    if (error.code === "Internal") this.#options.log.error("HTTP request failed", { path, error });
    return { status: 500 };
  }

  #send({ request, response }: Exchange, { status, headers = {}, body = "" }: Answer): void {
    const hasMore = hasBody(request) && !request.complete;
    response.writeHead(status, {
      ...headers,
      "Content-Length": Buffer.byteLength(body),
      "X-Content-Type-Options": "nosniff",
      ...(hasMore || this.#isStopping ? { Connection: "close" } : {}),
    });
    if (!hasMore) {
      response.end(body);
      return;
    }
    response.flushHeaders();
    if (body !== "") response.write(body);
    const end = (): void => void response.end();
    const timer = setTimeout(end, lingerMs);
    response.once("close", () => clearTimeout(timer));
    request.once("end", end).resume();
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0";
}

/** IPv4 in its own form, on a socket for both families too. */
function peerOf(socket: Socket): string {
  return (socket.remoteAddress ?? "unknown").replace(/^::ffff:/, "");
}
