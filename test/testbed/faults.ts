import type { IncomingMessage } from "node:http";

/** What happens to a request. Byte counts are of the response's body; a range is drawn from with the proxy's seed. */
export type Fault =
  /** Answered by the proxy with a Kubernetes Status; never reaches the server. Its message may hold the request's body. */
  | { kind: "answer"; status: 403 | 409 | 410 | 429 | 500 | 503; retryAfterSeconds?: number; repeats?: true }
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

/** The rules, in order, and the one source of chance. */
export class Faults {
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
