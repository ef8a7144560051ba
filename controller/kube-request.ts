import * as http from "node:http";
import * as https from "node:https";
import type { SecureContextOptions } from "node:tls";
import { SecretError } from "../formats/errors.ts";
import { unavailable } from "./kube-error.ts";

/** Where the API server is and how to log in to it. */
export interface Connection {
  server: URL;
  headers: Readonly<Record<string, string>>;
  tls: SecureContextOptions & { servername?: string; rejectUnauthorized?: boolean };
  /** Takes the place of our own pool; for servers behind a proxy. */
  agent?: http.Agent | undefined;
}

/** Gives the connection; `fresh` after a 401, when the credentials at hand have turned out to be stale. */
export type Connect = (fresh: boolean) => Promise<Connection>;

/** One request on the wire. */
export interface WireRequest {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** With the query. */
  path: string;
  headers?: Record<string, string>;
  body?: Uint8Array | undefined;
  /** Until the last byte of the body, or for a stream to the head of the answer. */
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** For messages: verb and object. */
  what: string;
  /** A stream has its own connection, so that long watches never use up the bounded pool. */
  stream?: boolean;
}

/** A whole answer. */
export interface WireAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: Uint8Array;
}

const maxBodyBytes = 64 * 1024 * 1024;
const maxSockets = 32;
/** TCP keepalive starts after this much silence; with libuv's ten probes a second apart a dead peer is noticed 40 s on. */
const keepAliveMs = 30_000;

/** HTTP to one API server: pooled connections, a deadline on everything, no redirects. */
export class Transport {
  readonly #connect: Connect;
  readonly #userAgent: string;
  #pool: Pool | undefined;

  constructor(connect: Connect, userAgent: string) {
    this.#connect = connect;
    this.#userAgent = userAgent;
  }

  /**
   * The whole answer, whatever its status.
   * @throws RemoteUnavailable without one; Rejected if it's larger than 64 MiB.
   */
  async send(wire: WireRequest): Promise<WireAnswer> {
    const exchange = await this.open(wire);
    try {
      const chunks: Uint8Array[] = [];
      let size = 0;
      for (;;) {
        const chunk = await exchange.read();
        if (chunk === undefined) break;
        size += chunk.length;
        if (size > maxBodyBytes) {
          throw new SecretError("Rejected", `API server: ${wire.what}: answer is larger than 64 MiB`);
        }
        chunks.push(chunk);
      }
      return { status: exchange.status, headers: exchange.headers, body: Buffer.concat(chunks) };
    } finally {
      exchange.close();
    }
  }

  /** The head of the answer; the caller reads the body and closes the exchange. */
  async open(wire: WireRequest): Promise<Exchange> {
    const first = await this.#attempt(wire, false);
    if (first.status !== 401) return first;
    first.close();
    return this.#attempt(wire, true);
  }

  async #attempt(wire: WireRequest, fresh: boolean): Promise<Exchange> {
    const connection = await this.#connect(fresh);
    for (let again = false; ; again = true) {
      const exchange = new Exchange(this.#request(connection, wire), wire);
      try {
        await exchange.start();
        return exchange;
      } catch (thrown) {
        exchange.close();
        if (again || !exchange.lostReusedSocket || wire.method === "POST" || wire.method === "PATCH")
          throw thrown;
      }
    }
  }

  #request(connection: Connection, wire: WireRequest): http.ClientRequest {
    const { server } = connection;
    const secure = server.protocol === "https:";
    const options: https.RequestOptions = {
      method: wire.method,
      hostname: server.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: server.port,
      path: server.pathname.replace(/\/$/, "") + wire.path,
      headers: {
        Accept: "application/json",
        "User-Agent": this.#userAgent,
        ...connection.headers,
        ...wire.headers,
        ...(wire.body === undefined ? {} : { "Content-Length": String(wire.body.length) }),
      },
      agent: connection.agent ?? this.#agent(connection, secure, wire.stream === true),
    };
    return secure ? https.request(options) : http.request(options);
  }

  #agent(connection: Connection, secure: boolean, stream: boolean): http.Agent {
    if (this.#pool?.connection !== connection) {
      const fingerprint = JSON.stringify(connection.tls);
      // A new token keeps the pool; new certificates don't. The old one is left to its requests in flight, and the
      // server closes its idle connections.
      const kept = this.#pool?.fingerprint === fingerprint ? this.#pool : newPool(connection, secure);
      this.#pool = { ...kept, connection, fingerprint };
    }
    return stream ? this.#pool.streams : this.#pool.calls;
  }

  close(): void {
    this.#pool?.calls.destroy();
    this.#pool?.streams.destroy();
  }
}

interface Pool {
  /** Whose TLS settings were looked at last. */
  connection: Connection;
  fingerprint: string;
  calls: http.Agent;
  streams: http.Agent;
}

function newPool(connection: Connection, secure: boolean): Pick<Pool, "calls" | "streams"> {
  return { calls: agent(connection, secure, maxSockets), streams: agent(connection, secure) };
}

function agent(connection: Connection, secure: boolean, sockets = Infinity): http.Agent {
  const options = { keepAlive: true, keepAliveMsecs: keepAliveMs, noDelay: true, maxSockets: sockets };
  return secure ? new https.Agent({ ...options, ...connection.tls }) : new http.Agent(options);
}

/** One request and its answer, read chunk by chunk, so that a slow consumer slows the sender down. */
export class Exchange {
  readonly #request: http.ClientRequest;
  readonly #wire: WireRequest;
  #response: http.IncomingMessage | undefined;
  #chunks: AsyncIterator<Uint8Array> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Why we broke it off ourselves; tells a deadline from a reset. */
  #broken: SecretError | undefined;
  lostReusedSocket = false;

  readonly #abort = (): void => {
    this.#break(unavailable(`${this.#wire.what}: cancelled`));
  };

  constructor(request: http.ClientRequest, wire: WireRequest) {
    this.#request = request;
    this.#wire = wire;
  }

  get status(): number {
    return this.#response?.statusCode ?? 0;
  }

  get headers(): http.IncomingHttpHeaders {
    return this.#response?.headers ?? {};
  }

  /** Sends, and waits for the head of the answer. @throws RemoteUnavailable */
  async start(): Promise<void> {
    const { signal, timeoutMs, body } = this.#wire;
    const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
      this.#request.once("response", resolve);
      this.#request.on("error", reject);
    });
    this.deadline(timeoutMs);
    signal?.addEventListener("abort", this.#abort, { once: true });
    if (signal?.aborted === true) this.#abort();
    else this.#request.end(body);
    try {
      this.#response = await answered;
    } catch (thrown) {
      this.lostReusedSocket = this.#broken === undefined && this.#request.reusedSocket && isReset(thrown);
      throw this.#broken ?? unavailable(`${this.#wire.what}: no answer`, thrown);
    }
    this.#chunks = this.#response[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  }

  /** From now, until the next call; the exchange is broken off when it passes. */
  deadline(timeoutMs: number | undefined): void {
    clearTimeout(this.#timer);
    if (timeoutMs === undefined) return;
    this.#timer = setTimeout(() => {
      this.#break(unavailable(`${this.#wire.what}: nothing heard for ${timeoutMs / 1000} s`));
    }, timeoutMs);
  }

  /** The next bytes, or `undefined` at a clean end. @throws RemoteUnavailable */
  async read(): Promise<Uint8Array | undefined> {
    try {
      const next = await this.#chunks?.next();
      return next === undefined || next.done === true ? undefined : next.value;
    } catch (thrown) {
      throw this.#broken ?? unavailable(`${this.#wire.what}: answer was cut off`, thrown);
    }
  }

  /** Frees the connection: back to the pool after a whole answer, destroyed otherwise. */
  close(): void {
    clearTimeout(this.#timer);
    this.#wire.signal?.removeEventListener("abort", this.#abort);
    if (this.#response?.complete === true) this.#response.resume();
    else this.#request.destroy();
  }

  #break(reason: SecretError): void {
    this.#broken ??= reason;
    if (this.#response === undefined) this.#request.destroy(reason);
    else this.#response.destroy(reason);
  }
}

function isReset(thrown: unknown): boolean {
  return (
    thrown instanceof Error && "code" in thrown && (thrown.code === "ECONNRESET" || thrown.code === "EPIPE")
  );
}
