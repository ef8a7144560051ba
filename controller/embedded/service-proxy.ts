import { request, type IncomingMessage, type ServerResponse } from "node:http";
import { SecretError } from "../../formats/errors.ts";
import { notFound, StatusError } from "./status.ts";

const loopback = new Set(["127.0.0.1", "localhost", "[::1]"]);
const hopByHop = [
  "connection",
  "host",
  "authorization",
  "upgrade",
  "te",
  "transfer-encoding",
  "content-length",
];
const timeoutMs = 30_000;

/** Where the proxy of each Service leads. Only loopback: the embedded API opens no way out of the machine. */
export class ProxyTargets {
  readonly #targets = new Map<string, URL>();

  /** @throws Usage unless the URL is plain HTTP on loopback */
  set(namespace: string, name: string, url: string): void {
    const target = URL.canParse(url) ? new URL(url) : undefined;
    if (target?.protocol !== "http:" || !loopback.has(target.hostname)) {
      throw new SecretError("Usage", `the proxy target of service ${namespace}/${name} is not on loopback`, {
        hint: "use http://127.0.0.1:PORT",
      });
    }
    this.#targets.set(`${namespace}/${name}`, target);
  }

  /** The target of `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`. @throws 404, 503 */
  find(namespace: string, reference: string): URL {
    const parts = reference.split(":");
    const name = (parts.length === 3 ? parts[1] : parts[0]) ?? "";
    const target = this.#targets.get(`${namespace}/${name}`);
    if (target !== undefined) return target;
    throw new StatusError(503, "ServiceUnavailable", `no endpoints available for service "${reference}"`);
  }
}

/** Whether a proxy reference names a service that exists. @throws 404 */
export function serviceName(reference: string, exists: (name: string) => boolean): string {
  const parts = reference.split(":");
  const name = (parts.length === 3 ? parts[1] : parts[0]) ?? "";
  if (exists(name)) return name;
  throw notFound({ group: "", plural: "services", kind: "Service" }, name);
}

function unreachable(): StatusError {
  return new StatusError(503, "ServiceUnavailable", "error trying to reach service: the connection failed");
}

/** Sends the request on and its answer back. @throws 503 if the target does not answer */
export function forward(
  target: URL,
  { incoming, path, body }: { incoming: IncomingMessage; path: string; body: Buffer },
  response: ServerResponse,
): Promise<void> {
  const headers = { ...incoming.headers };
  for (const name of hopByHop) Reflect.deleteProperty(headers, name);
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL(path, target),
      {
        method: incoming.method ?? "GET",
        headers: { ...headers, "content-length": body.length },
        timeout: timeoutMs,
      },
      (answer) => {
        for (const name of hopByHop) Reflect.deleteProperty(answer.headers, name);
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
        answer.on("error", () => response.destroy());
        answer.on("end", resolve);
      },
    );
    outgoing.on("timeout", () => outgoing.destroy(new Error("timeout")));
    outgoing.on("error", () => {
      if (response.headersSent) response.destroy();
      reject(unreachable());
    });
    outgoing.end(body);
  });
}
