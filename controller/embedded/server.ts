import type { IncomingMessage, ServerResponse } from "node:http";
import { versionInfo, type Discovery } from "./discovery.ts";
import type { JsonObject } from "./objects.ts";
import type { OpenApi } from "./openapi.ts";
import type { Answer, ResourceRequests } from "./requests.ts";
import { parseResourcePath } from "./routes.ts";
import { noSuchPath, StatusError, storageFailed, unauthorized } from "./status.ts";
import type { Store } from "./store.ts";
import type { Tokens } from "./tokens.ts";

interface RouterParts {
  resources: ResourceRequests;
  discovery: Discovery;
  openApi: OpenApi;
  tokens: Tokens;
  store: Store;
  onFailure: (failure: unknown) => void;
}

const aggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const probes = new Set(["/healthz", "/livez", "/readyz"]);

function send(
  response: ServerResponse,
  { code, text, warnings = [] }: Answer,
  type = "application/json",
): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(code, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(text),
    "Cache-Control": "no-cache, private",
    ...(warnings.length === 0 ? {} : { Warning: warnings.map((entry) => `299 - ${JSON.stringify(entry)}`) }),
  });
  response.end(text);
}

function asStatus(thrown: unknown): StatusError {
  if (thrown instanceof StatusError) return thrown;
  return new StatusError(500, "InternalError", "Internal error occurred: the embedded API failed");
}

/** From a raw request to its answer. */
export class Router {
  readonly #parts: RouterParts;

  constructor(parts: RouterParts) {
    this.#parts = parts;
  }

  /** Answers one request; never throws. */
  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", () => response.destroy());
    try {
      await this.#answer(request, response);
    } catch (thrown) {
      const status = asStatus(thrown);
      if (status !== thrown) this.#parts.onFailure(thrown);
      if (status.retryAfterSeconds !== undefined && !response.headersSent) {
        response.setHeader("Retry-After", status.retryAfterSeconds);
      }
      // Whatever is left of the body is not read: the connection cannot be used again.
      if (!request.complete && !response.headersSent) response.setHeader("Connection", "close");
      if (status.plain)
        send(response, { code: status.code, text: status.message }, "text/plain; charset=utf-8");
      else send(response, { code: status.code, text: JSON.stringify(status.body()) });
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "https://127.0.0.1");
    const [, probe = ""] = /^(\/(?:healthz|livez|readyz))(?:\/|$)/.exec(url.pathname) ?? [];
    if (probes.has(probe)) {
      send(response, { code: 200, text: "ok" }, "text/plain; charset=utf-8");
      return;
    }
    this.#authenticate(request);
    const path = parseResourcePath(url.pathname);
    if (path === undefined) {
      this.#document(request, response, url.pathname);
      return;
    }
    const answer = await this.#parts.resources.answer({
      incoming: request,
      response,
      path,
      query: url.searchParams,
    });
    if (answer === undefined) return;
    await this.#settled();
    send(response, answer);
  }

  /** Nothing is told, not even by a read, that a crash could take back. */
  async #settled(): Promise<void> {
    try {
      await this.#parts.store.settled();
    } catch {
      throw storageFailed();
    }
  }

  #authenticate(request: IncomingMessage): void {
    const [scheme = "", token = ""] = (request.headers.authorization ?? "").split(" ");
    if (scheme.toLowerCase() !== "bearer" || !this.#parts.tokens.accepts(token)) throw unauthorized();
  }

  #document(request: IncomingMessage, response: ServerResponse, path: string): void {
    const { discovery } = this.#parts;
    const root = path === "/api" ? "api" : path === "/apis" ? "apis" : undefined;
    const aggregated = /g=apidiscovery\.k8s\.io;v=v2(;|,|$)/.test(
      (request.headers.accept ?? "").replaceAll(" ", ""),
    );
    if (root !== undefined && aggregated) {
      send(response, { code: 200, text: JSON.stringify(discovery.aggregated(root)) }, aggregatedType);
      return;
    }
    const found = this.#find(path);
    if (found === undefined) throw noSuchPath();
    send(response, { code: 200, text: JSON.stringify(found) });
  }

  #find(path: string): JsonObject | undefined {
    const { discovery, openApi } = this.#parts;
    const plain = path.replace(/\/$/, "");
    if (plain === "")
      return { paths: ["/api", "/api/v1", "/apis", "/healthz", "/openapi/v2", "/openapi/v3", "/version"] };
    if (plain === "/version") return versionInfo;
    if (plain === "/api") return discovery.coreVersions();
    if (plain === "/apis") return discovery.groupList();
    if (plain === "/openapi/v2") return openApi.swagger();
    if (plain === "/openapi/v3") return openApi.index();
    if (plain.startsWith("/openapi/v3/")) return openApi.document(plain.slice("/openapi/v3/".length));
    const [, root, group = "", version] = plain.split("/");
    if (root === "api") return discovery.resources(group);
    if (root !== "apis") return undefined;
    return version === undefined ? discovery.group(group) : discovery.resources(`${group}/${version}`);
  }
}
