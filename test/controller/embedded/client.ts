import { request, Agent } from "node:https";

/** How to reach an API server. */
export interface Access {
  url: string;
  caPem: string;
  token: string;
}

/** One request; the body is sent as JSON unless it is text or bytes already. */
export interface Call {
  method?: string;
  path: string;
  body?: unknown;
  type?: string;
  headers?: Record<string, string>;
}

/** What tests read of objects, lists, reviews and statuses. */
export interface Body {
  apiVersion: string;
  kind: string;
  code?: number;
  metadata: {
    name: string;
    uid: string;
    resourceVersion: string;
    generateName?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    ownerReferences?: object[];
    deletionTimestamp?: string;
    continue: string;
    remainingItemCount?: number;
  };
  data: Record<string, string>;
  items: Body[];
  status: { token: string; authenticated?: boolean };
  headers: Record<string, string>;
}

/** An answer, its body parsed if it is JSON. */
export interface Reply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Body;
}

/** A plain HTTPS client, so that nothing of the Kubernetes client stands between the test and the server. */
export class Client {
  readonly access: Access;
  readonly #agent: Agent;

  constructor(access: Access) {
    this.access = access;
    this.#agent = new Agent({ keepAlive: true, ca: access.caPem, maxSockets: 16 });
  }

  async call({ method = "GET", path, body, type = "application/json", headers = {} }: Call): Promise<Reply> {
    const bytes =
      body === undefined || typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    return await new Promise((resolve, reject) => {
      const outgoing = request(new URL(path, this.access.url), {
        agent: this.#agent,
        method,
        headers: {
          Authorization: `Bearer ${this.access.token}`,
          Accept: "application/json",
          "User-Agent": "conformance/1 (test)",
          ...(bytes === undefined
            ? {}
            : { "Content-Type": type, "Content-Length": Buffer.byteLength(bytes) }),
          ...headers,
        },
      });
      outgoing.on("error", reject);
      outgoing.on("response", (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          const json = (incoming.headers["content-type"] ?? "").startsWith("application/json");
          const parsed: unknown = json && !path.includes("watch=") ? JSON.parse(text) : text;
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: parsed as Body });
        });
      });
      outgoing.end(bytes);
    });
  }

  /** Opens a watch and collects its events until `enough` is content or the server ends it. */
  async watch(path: string, enough: (events: WatchEvent[]) => boolean): Promise<WatchEvent[]> {
    return await new Promise((resolve, reject) => {
      const events: WatchEvent[] = [];
      let rest = "";
      const outgoing = request(new URL(path, this.access.url), {
        ca: this.access.caPem,
        headers: { Authorization: `Bearer ${this.access.token}`, Accept: "application/json" },
      });
      outgoing.on("error", (failure) => (outgoing.destroyed ? resolve(events) : reject(failure)));
      outgoing.on("response", (incoming) => {
        incoming.on("data", (chunk: Buffer) => {
          const lines = (rest + chunk.toString()).split("\n");
          rest = lines.pop()!;
          events.push(...lines.filter((line) => line !== "").map((line) => JSON.parse(line) as WatchEvent));
          if (!enough(events)) return;
          outgoing.destroy();
          resolve(events);
        });
        incoming.on("end", () => resolve(events));
        incoming.on("error", () => resolve(events));
      });
      outgoing.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** One line of a watch. */
export interface WatchEvent {
  type: string;
  object: Body;
}

/** What tests read of a kubeconfig. */
export interface Kubeconfig {
  clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
  users: { user: { token: string } }[];
}
