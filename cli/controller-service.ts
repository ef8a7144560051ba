import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { SecretError, type ErrorCode } from "../formats/errors.ts";
import { isObject, type JsonObject } from "../formats/manifest.ts";
import { connect, type Connection } from "./cluster.ts";
import type { Flags } from "./flags.ts";

/** The controller, as reached through the API server's service proxy. */
export interface Controller {
  /** PEM of its newest certificate. */
  certificate: () => Promise<string>;
  /** Whether it can open this SealedSecret. */
  verify: (sealedSecret: JsonObject) => Promise<boolean>;
  /** The SealedSecret encrypted anew, as the controller answers; `undefined` where it cannot open it. */
  rotate: (sealedSecret: JsonObject) => Promise<JsonObject | undefined>;
}

const retries = 10;
const maxBytes = 64 * 1024 * 1024;
const longestWaitSeconds = 60;
const defaults = { name: "sealed-secrets-controller", namespace: "kube-system" };

/**
 * Finds the controller's Service and the way through it.
 * @param options `isPinned` where the certificate is checked against a pin
 * @throws SecretError `NotFound`, `Forbidden`, `RemoteUnavailable`, `FileUnusable`; `CertificateNotPinned` for an API server over
 * plain HTTP that is not on this machine
 */
export async function openController(
  flags: Flags,
  options: { isPinned: boolean } = { isPinned: true },
): Promise<Controller> {
  const connection = await connect(flags);
  requireTrusted(connection.server, options.isPinned);
  const api = { connection, timeoutMs: milliseconds(flags.requestTimeout ?? "0") };
  const { controllerName: name = defaults.name, controllerNamespace: namespace = defaults.namespace } = flags;
  const service = `/api/v1/namespaces/${encodeURIComponent(namespace)}/services`;
  const port = await portName(api, { path: `${service}/${encodeURIComponent(name)}`, name });
  const proxy = `${service}/http:${encodeURIComponent(name)}:${encodeURIComponent(port)}/proxy/v1`;
  return {
    certificate: async () => {
      const answer = await call(api, {
        method: "GET",
        path: `${proxy}/cert.pem`,
        accept: "application/x-pem-file, */*",
      });
      if (answer.status !== 200) throw refusal("cannot fetch certificate", answer);
      return answer.body.toString("latin1");
    },
    verify: async (sealedSecret) => {
      const answer = await call(api, { method: "POST", path: `${proxy}/verify`, body: sealedSecret });
      if (answer.status === 200) return true;
      if (answer.status === 409) return false;
      throw refusal("cannot validate sealed secret", answer);
    },
    rotate: async (sealedSecret) => {
      const answer = await call(api, { method: "POST", path: `${proxy}/rotate`, body: sealedSecret });
      if (answer.status === 409) return undefined;
      if (answer.status !== 200) throw refusal("cannot re-encrypt secret", answer);
      return requireJson(answer.body, "cannot re-encrypt secret");
    },
  };
}

function requireTrusted(server: URL, isPinned: boolean): void {
  const isLocal = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(server.hostname);
  if (server.protocol === "https:" || isLocal || isPinned) return;
  throw new SecretError(
    "CertificateNotPinned",
    "the API server is reached over plain HTTP, so its certificate could be anyone's",
    {
      hint: "use https, or say which certificate to expect: --pin SHA256:..., or a pin file",
    },
  );
}

/** As kubectl reads it: a number of seconds, or one with units. @throws SecretError `Usage` */
function milliseconds(text: string): number {
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const units = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)];
  if (parts.map(([part]) => part).join("") !== text || text === "") {
    throw new SecretError("Usage", "--request-timeout is not a duration", {
      hint: "give one such as 5s, 2m or 1h",
    });
  }
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * units[unit as keyof typeof units], 0);
}

interface Api {
  connection: Connection;
  /** 0 for no limit. */
  timeoutMs: number;
}

interface Call {
  method: "GET" | "POST";
  path: string;
  accept?: string;
  body?: JsonObject;
}

interface Answer {
  status: number;
  retryAfterSeconds: number;
  body: Buffer;
}

async function portName(api: Api, { path, name }: { path: string; name: string }): Promise<string> {
  const what = "cannot get sealed secret service";
  const answer = await call(api, { method: "GET", path });
  if (answer.status === 404) {
    throw new SecretError("NotFound", `${what}: services "${name}" not found`, {
      hint: "use the flags --controller-name and --controller-namespace to say where the sealed secrets controller is",
    });
  }
  if (answer.status !== 200) throw refusal(what, answer);
  const { spec } = requireJson(answer.body, what);
  const ports = isObject(spec) && Array.isArray(spec["ports"]) ? (spec["ports"] as unknown[]) : [];
  const [first] = ports;
  return isObject(first) && typeof first["name"] === "string" ? first["name"] : "";
}

function requireJson(body: Buffer, what: string): JsonObject {
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    if (isObject(value)) return value;
  } catch {
    // Told below, as for any other answer that is not an object.
  }
  throw new SecretError("RemoteUnavailable", `${what}: the answer is not a JSON object`, {
    hint: "check that the API server's address is right",
  });
}

/** What a status means for the one who asked; the body stays unseen, since it may repeat what was sent. */
function refusal(what: string, { status }: Answer): SecretError {
  const rows: Record<number, [ErrorCode, string, string]> = {
    401: ["Forbidden", "the API server does not know you (401)", "log in to the cluster again"],
    403: [
      "Forbidden",
      "forbidden (403)",
      "ask for `get services` and for `get` and `create` on `services/proxy`",
    ],
    404: ["NotFound", "not found (404)", "check that the Service leads to a sealed secrets controller"],
    429: ["Throttled", "too many requests (429)", "try again later"],
    503: ["RemoteUnavailable", "no controller answers (503)", "check that the controller's pod is ready"],
  };
  const [code, reason, hint] = rows[status] ?? [
    "RemoteUnavailable",
    `the server answered ${status}`,
    "see the controller's log",
  ];
  return new SecretError(code, `${what}: ${reason}`, { hint });
}

/** Asks, and waits where the server says how long: the controller limits how often it may be asked. */
async function call(api: Api, wanted: Call): Promise<Answer> {
  for (let attempt = 0; ; attempt += 1) {
    const answer = await send(api, wanted);
    const mayRetry = answer.status === 429 || (answer.status >= 500 && answer.retryAfterSeconds > 0);
    if (!mayRetry || attempt >= retries) return answer;
    const seconds = Math.min(Math.max(answer.retryAfterSeconds, 1), longestWaitSeconds);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

async function send({ connection, timeoutMs }: Api, { method, path, accept, body }: Call): Promise<Answer> {
  const { server, agent, headers } = connection;
  const url = new URL(`${server.pathname.replace(/\/$/, "")}${path}`, server);
  const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const type =
    content === undefined ? {} : { "Content-Type": "application/json", "Content-Length": content.length };
  const signal = timeoutMs === 0 ? {} : { signal: AbortSignal.timeout(timeoutMs) };
  const start = url.protocol === "http:" ? httpRequest : httpsRequest;
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const all = { Accept: accept ?? "application/json", "User-Agent": "sealwright", ...type, ...headers };
      start(url, { method, agent, headers: all, ...signal }, resolve)
        .once("error", reject)
        .end(content);
    });
    const retryAfter = Number(response.headers["retry-after"] ?? 0);
    return {
      status: response.statusCode ?? 0,
      retryAfterSeconds: Number.isFinite(retryAfter) ? retryAfter : 0,
      body: await readBody(response),
    };
  } catch (cause) {
    if (cause instanceof SecretError) throw cause;
    throw unreachable(url, cause);
  }
}

async function readBody(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw new SecretError("RemoteUnavailable", "the API server's answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function unreachable(url: URL, cause: unknown): SecretError {
  const code =
    cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "no answer";
  return new SecretError("RemoteUnavailable", `the API server at ${url.origin} cannot be reached (${code})`, {
    cause,
    hint: "check the network, the kubeconfig's context, and --request-timeout",
  });
}
