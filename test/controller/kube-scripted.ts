import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { KubeClient, type KubeObject, type KubeOptions } from "../../controller/kube.ts";

/** A request as the script sees it. */
export interface Seen {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: http.IncomingHttpHeaders;
  body: string;
}

/** True if the script has answered; false leaves the request to the default behaviour. */
export type Script = (seen: Seen, response: http.ServerResponse) => boolean;

/**
 * Objects behind HTTP list and watch on loopback, with every fault at the exact byte where a test wants it. It isn't an
 * API server and checks nothing: it plays the other end of a broken connection.
 */
export class ScriptedServer {
  readonly objects = new Map<string, KubeObject>();
  readonly seen: Seen[] = [];
  readonly watches = new Set<http.ServerResponse>();
  script: Script = () => false;
  version = 100;
  readonly #server: http.Server;

  private constructor() {
    this.#server = http.createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const url = new URL(request.url ?? "", "http://scripted");
        const seen: Seen = {
          method: request.method ?? "",
          path: url.pathname,
          query: url.searchParams,
          headers: request.headers,
          body: Buffer.concat(chunks).toString(),
        };
        this.seen.push(seen);
        if (!this.script(seen, response)) this.#answer(seen, response);
      });
    });
  }

  static async start(): Promise<ScriptedServer> {
    const scripted = new ScriptedServer();
    await new Promise<void>((resolve) => scripted.#server.listen(0, "127.0.0.1", resolve));
    return scripted;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  client(options: Partial<KubeOptions> = {}): KubeClient {
    const server = new URL(`http://127.0.0.1:${this.port}`);
    return new KubeClient({ connect: () => Promise.resolve({ server, headers: {}, tls: {} }), ...options });
  }

  count(kind: "list" | "watch"): number {
    return this.seen.filter((s) => s.query.has("watch") === (kind === "watch")).length;
  }

  /** Stores the object and tells the watches. */
  put(name: string, value = ""): KubeObject {
    const type = this.objects.has(name) ? "MODIFIED" : "ADDED";
    const resourceVersion = String(++this.version);
    const object: KubeObject = { metadata: { name, namespace: "n", resourceVersion }, value };
    this.objects.set(name, object);
    this.send({ type, object });
    return object;
  }

  /** Removes the object; `quietly`, as if no watch were there to hear of it. */
  remove(name: string, quietly = false): void {
    const object = this.objects.get(name);
    this.objects.delete(name);
    if (object === undefined) return;
    const resourceVersion = String(++this.version);
    if (!quietly)
      this.send({
        type: "DELETED",
        object: { ...object, metadata: { ...object.metadata, resourceVersion } },
      });
  }

  send(frame: unknown): void {
    this.raw(`${JSON.stringify(frame)}\n`);
  }

  /** The same bytes on every open watch. */
  raw(bytes: string | Uint8Array): void {
    for (const watch of this.watches) watch.write(bytes);
  }

  endWatches(): void {
    for (const watch of this.watches) watch.end();
    this.watches.clear();
  }

  cutWatches(): void {
    for (const watch of this.watches) watch.destroy();
    this.watches.clear();
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(seen: Seen, response: http.ServerResponse): void {
    if (seen.query.has("watch")) {
      response.writeHead(200, { "Content-Type": "application/json" }).flushHeaders();
      this.watches.add(response);
      response.on("close", () => this.watches.delete(response));
      return;
    }
    const limit = Number(seen.query.get("limit") ?? this.objects.size);
    const from = Number(seen.query.get("continue") ?? 0);
    const all = [...this.objects.values()];
    const more = from + limit < all.length ? { continue: String(from + limit) } : {};
    json(response, {
      metadata: { resourceVersion: String(this.version), ...more },
      items: all.slice(from, from + limit),
    });
  }
}

/** Answers with a document. */
export function json(response: http.ServerResponse, body: unknown, status = 200): true {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
  return true;
}

/** Answers with a `metav1.Status`. */
export function status(
  response: http.ServerResponse,
  code: number,
  more: Record<string, unknown> = {},
): true {
  return json(
    response,
    { kind: "Status", apiVersion: "v1", status: "Failure", code, message: canary, ...more },
    code,
  );
}

/** Stands in the body of every refusal; no message may repeat it. */
export const canary = "CANARY-remote-body";

/** Waits for the state; a test that waits in vain fails by its timeout. */
export async function until(state: () => boolean): Promise<void> {
  while (!state()) await new Promise((resolve) => setTimeout(resolve, 5));
}
