import { asSecretError, SecretError } from "../formats/errors.ts";
import { decodeUtf8, isJson, readManifests, toJson } from "../formats/manifest.ts";
import { parseSealedSecret, sealedSecretManifest, type SealedSecret } from "../formats/sealed-secret.ts";
import type { SealingCertificate } from "../formats/sealing-certificate.ts";
import type { SealingKey } from "../formats/sealing-key.ts";
import type { ListenAddress } from "./flag-values.ts";
import {
  HttpServer,
  textAnswer,
  type Answer,
  type ConnectionLimits,
  type Exchange,
  type Route,
} from "./http-server.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { RateLimiter } from "./rate-limit.ts";
import { BodyReceiver, type BodyLimits } from "./request-body.ts";
import { opens, rotate, type OpeningMeans } from "./rotation.ts";
import { Turns } from "./turns.ts";

/** What the HTTP endpoints need of the controller. */
export interface ServerBackend {
  /** All keys, in the order to try. */
  keys(): readonly SealingKey[];
  /** The newest certificate whose key is stored; `undefined` while there is none. */
  certificate(): SealingCertificate | undefined;
  ready(): { ok: boolean; reason: string };
}

/** Every bound of the server. */
export interface ServerLimits extends ConnectionLimits, BodyLimits {
  /** Requests a second to /v1/verify, and as many to /v1/rotate, of each peer; positive. */
  rate: number;
  /** Requests beyond the rate that may come at once. */
  burst: number;
  /** RSA operations at once: some of the thread pool is left to the reconcilers. */
  openingsAtOnce: number;
  /** Objects being opened; beyond, senders are asked to come again. */
  maxOpenings: number;
}

/** Bounds for a process of 256 MiB that shares two cores. */
export const defaultLimits: ServerLimits = {
  headTimeoutMs: 10_000,
  readTimeoutMs: 120_000,
  writeTimeoutMs: 120_000,
  keepAliveMs: 75_000,
  connections: 512,
  connectionsPerPeer: 256,
  maxBytes: 1024 * 1024,
  maxBodies: 32,
  rate: 2,
  burst: 2,
  openingsAtOnce: 2,
  maxOpenings: 32,
};

/** What {@link startServer} is told. */
export interface ServerOptions {
  listen: ListenAddress;
  metricsListen: ListenAddress;
  backend: ServerBackend;
  log: Log;
  metrics: Metrics;
  /** Whether the deprecated `spec.data` is opened; absent: it is. */
  acceptBlob?: boolean;
  /** Those left out are {@link defaultLimits}. */
  limits?: Partial<ServerLimits>;
}

/** A running server. */
export interface RunningServer {
  port: number;
  metricsPort: number;
  /** Ends when the requests under way have their answers, after `graceMs` in any case. */
  stop(graceMs: number): Promise<void>;
}

/** The one answer to whatever does not open. */
const notOpened: Answer = { status: 409 };
const comeAgain: Answer = { status: 503, headers: { "Retry-After": "1" } };
/**
 * What parsing costs grows with the structure of a body, for YAML with its square, and runs on the event loop. Sealed items
 * have no structure, so real objects stay far below.
 */
const structure = {
  json: { marks: /[{[]/g, most: 50_000 },
  yaml: { marks: /[\n\r,:?&*[\]{}_-]/g, most: 4000 },
};

function addressOf({ host = "" }: ListenAddress, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/**
 * Serves the certificate, verify, rotate, probes and metrics.
 * @throws SecretError `Usage` where an address cannot be listened on
 * @see the Sealed Secrets controller's HTTP API
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { listen, metricsListen, log, metrics } = options;
  const limits: ServerLimits = { ...defaultLimits, ...options.limits };
  const shared = { limits, log, metrics };
  const main = await HttpServer.start({ ...shared, listen, routes: mainRoutes(options, limits) });
  const measured = await HttpServer.start({
    ...shared,
    listen: metricsListen,
    routes: new Map([
      ["/healthz", health],
      ["/metrics", exposition(metrics)],
    ]),
  }).catch(async (error: unknown) => {
    await main.stop(0);
    throw error;
  });
  log.info("HTTP server serving", { addr: addressOf(listen, main.port) });
  log.info("HTTP metrics server serving", { addr: addressOf(metricsListen, measured.port) });
  return {
    port: main.port,
    metricsPort: measured.port,
    stop: async (graceMs) => {
      await Promise.all([main.stop(graceMs), measured.stop(graceMs)]);
    },
  };
}

const health: Route = { methods: ["GET", "HEAD"], answer: () => textAnswer(200, "ok") };

function exposition(metrics: Metrics): Route {
  return {
    methods: ["GET", "HEAD"],
    answer: async () => {
      const { text, contentType } = await metrics.exposition();
      return { status: 200, headers: { "Content-Type": contentType }, body: text };
    },
  };
}

function mainRoutes(options: ServerOptions, limits: ServerLimits): Map<string, Route> {
  const { backend } = options;
  const desk = new OpeningDesk(options, limits);
  return new Map<string, Route>([
    ["/healthz", health],
    ["/readyz", { methods: ["GET", "HEAD"], answer: () => readiness(backend) }],
    ["/v1/cert.pem", { methods: ["GET", "HEAD"], isMeasured: true, answer: () => certificate(backend) }],
    ["/v1/verify", desk.route("/v1/verify", verified)],
    ["/v1/rotate", desk.route("/v1/rotate", rotated)],
  ]);
}

function readiness(backend: ServerBackend): Answer {
  const { ok, reason } = backend.ready();
  return ok ? textAnswer(200, "ok") : textAnswer(503, reason);
}

function certificate(backend: ServerBackend): Answer {
  const newest = backend.certificate();
  if (newest === undefined) return textAnswer(500, "cannot get certificate");
  return { status: 200, headers: { "Content-Type": "application/x-pem-file" }, body: newest.pem };
}

/** An object to open, and what with. */
interface Opening extends OpeningMeans {
  sealed: SealedSecret;
  certificate: SealingCertificate;
}

async function verified({ sealed, ...means }: Opening): Promise<Answer> {
  return (await opens(sealed, means)) ? { status: 200 } : notOpened;
}

async function rotated({ sealed, certificate: newest, ...means }: Opening): Promise<Answer> {
  const renewed = await rotate(sealed, newest, means);
  if (renewed === undefined) return notOpened;
  const body = toJson(sealedSecretManifest(renewed));
  return { status: 200, headers: { "Content-Type": "application/json" }, body };
}

/** Takes SealedSecrets in from anybody: limited, bounded, and telling no more than whether they open. */
class OpeningDesk {
  readonly #options: ServerOptions;
  readonly #limits: ServerLimits;
  readonly #bodies: BodyReceiver;
  readonly #turns: Turns;
  #openings = 0;

  constructor(options: ServerOptions, limits: ServerLimits) {
    this.#options = options;
    this.#limits = limits;
    this.#bodies = new BodyReceiver(limits);
    this.#turns = new Turns(limits.openingsAtOnce);
  }

  /** An endpoint with an allowance of its own for each peer. */
  route(path: string, open: (opening: Opening) => Promise<Answer>): Route {
    const limiter = new RateLimiter(this.#limits);
    return {
      methods: ["POST"],
      isMeasured: true,
      answer: async (exchange) => {
        const { isAllowed, headers } = limiter.admit(exchange.peer);
        if (!isAllowed) return textAnswer(429, "limit exceeded", headers);
        const answer = await this.#open(path, exchange, open);
        return { ...answer, headers: { ...headers, ...answer.headers } };
      },
    };
  }

  async #open(
    path: string,
    { request, response, signal }: Exchange,
    open: (opening: Opening) => Promise<Answer>,
  ): Promise<Answer> {
    const received = await this.#bodies.receive(request, response);
    if ("status" in received) return received;
    const sealed = this.#parse(path, received.bytes);
    if ("status" in sealed) return sealed;
    const { backend, acceptBlob = true } = this.#options;
    const newest = backend.certificate();
    if (newest === undefined || this.#openings >= this.#limits.maxOpenings) return comeAgain;
    this.#openings += 1;
    try {
      const means = { keys: backend.keys(), turns: this.#turns, acceptBlob, signal };
      return await open({ ...means, sealed, certificate: newest });
    } finally {
      this.#openings -= 1;
    }
  }

  /** Only the code is logged: a message may name a kind or a label that the sender chose. */
  #parse(path: string, bytes: Uint8Array): SealedSecret | Answer {
    try {
      return parseBody(bytes);
    } catch (thrown) {
      const { code } = asSecretError(thrown);
      this.#options.log.info("HTTP request refused", { path, code });
      return { status: code === "Rejected" ? 413 : 400 };
    }
  }
}

function parseBody(bytes: Uint8Array): SealedSecret {
  const text = decodeUtf8(bytes);
  const { marks, most } = isJson(text) ? structure.json : structure.yaml;
  let count = 0;
  for (const _ of text.matchAll(marks)) {
    if (++count > most) throw new SecretError("Rejected", "the body has too much structure");
  }
  const [manifest, ...more] = readManifests(bytes);
  if (manifest === undefined || more.length > 0) {
    throw new SecretError("InvalidInput", "the body must hold one object");
  }
  return parseSealedSecret(manifest);
}
