import type { ServerResponse } from "node:http";
import { namespaceOf, withMetadata, type JsonObject } from "./objects.ts";
import {
  bookmarkFrame,
  changeFrame,
  encodeFrame,
  encodeObject,
  type Representation,
} from "./representations.ts";
import type { Resource } from "./resources.ts";
import type { Selector } from "./selectors.ts";
import { badRequest, expired } from "./status.ts";
import type { Change, Store } from "./store.ts";

const bookmarkIntervalMs = 10_000;
/** A watcher that reads more slowly than this is cut off, and starts again by itself. */
const backlogLimit = 64 * 1024 * 1024;

/** What one watch asks for. */
export interface WatchRequest {
  resource: Resource;
  namespace: string | undefined;
  select: Selector;
  wanted: Representation;
  query: URLSearchParams;
}

interface Start {
  /** Objects that exist already are sent as added. */
  initial: boolean;
  /** The initial objects are followed by a marked bookmark. */
  marked: boolean;
  version: number;
}

function startOf(query: URLSearchParams, store: Store): Start {
  const version = query.get("resourceVersion") ?? "";
  if (version !== "" && !/^\d+$/.test(version))
    throw badRequest(`Invalid value: "${version}": resourceVersion must be a number`);
  const sendInitial = query.get("sendInitialEvents");
  if (sendInitial !== null && query.get("resourceVersionMatch") !== "NotOlderThan") {
    throw badRequest("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
  }
  if (sendInitial === "true") return { initial: true, marked: true, version: store.version };
  if (sendInitial === "false" && (version === "" || version === "0")) {
    return { initial: false, marked: false, version: store.version };
  }
  const fresh = version === "" || version === "0";
  return { initial: fresh, marked: false, version: fresh ? store.version : Number(version) };
}

/** One watch: from its first event to the end of its connection. */
class Watcher {
  readonly #request: WatchRequest;
  readonly #store: Store;
  readonly #response: ServerResponse;
  readonly #ends: (() => void)[] = [];
  #buffer: string[] = [];
  #flushing = false;
  #started = false;
  #seen = 0;

  constructor(store: Store, request: WatchRequest, response: ServerResponse) {
    this.#store = store;
    this.#request = request;
    this.#response = response;
  }

  async start(): Promise<void> {
    const { resource, query } = this.#request;
    const start = startOf(query, this.#store);
    const missed = start.initial ? [] : this.#store.since(resource.storage, start.version);
    if (missed === undefined) {
      this.#tooOld(start.version);
      return;
    }
    if (start.initial) this.#sendExisting();
    for (const change of missed) this.#tell(change);
    // From here on nothing up to this version is told again, though it may not be delivered yet.
    this.#seen = Math.max(start.version, this.#store.version);
    this.#ends.push(this.#store.watch(resource.storage, (change) => this.#receive(change)));
    if (start.marked) this.#bookmark(this.#seen, true);
    this.#schedule();
    await this.#store.settled();
    this.#started = true;
    this.#response.flushHeaders();
    this.#flush();
  }

  end(): void {
    for (const end of this.#ends.splice(0)) end();
    if (!this.#response.writableEnded) this.#response.end(this.#buffer.splice(0).join(""));
  }

  #tooOld(version: number): void {
    const oldest = this.#store.horizon(this.#request.resource.storage);
    const status = expired(`too old resource version: ${version} (${oldest})`);
    this.#buffer.push(encodeFrame("ERROR", JSON.stringify(status.body())));
    this.end();
  }

  #schedule(): void {
    const asked = Number(this.#request.query.get("timeoutSeconds") ?? 0);
    const seconds = asked > 0 ? asked : 1800 * (1 + Math.random());
    const progress = (): void => this.#bookmark(Math.max(this.#seen, this.#store.delivered), false);
    const timeout = setTimeout(() => {
      progress();
      this.end();
    }, seconds * 1000);
    const interval = setInterval(progress, bookmarkIntervalMs);
    this.#ends.push(
      () => clearTimeout(timeout),
      () => clearInterval(interval),
    );
  }

  #bookmark(version: number, initialEnd: boolean): void {
    const { resource, wanted, query } = this.#request;
    if (!/^(true|1)$/.test(query.get("allowWatchBookmarks") ?? "")) return;
    this.#write(bookmarkFrame(resource, { version, initialEnd }, wanted));
  }

  #sendExisting(): void {
    const { resource, namespace, select, wanted } = this.#request;
    for (const object of this.#store.list(resource.storage, namespace)) {
      if (select(object)) this.#write(encodeFrame("ADDED", encodeObject(resource, object, wanted)));
    }
  }

  #receive(change: Change): void {
    if (change.version <= this.#seen) return;
    this.#seen = change.version;
    this.#tell(change);
  }

  #tell(change: Change): void {
    const { resource, namespace, select, wanted } = this.#request;
    if (namespace !== undefined && namespaceOf(change.object) !== namespace) return;
    const had = change.previous !== undefined && select(change.previous);
    const has = change.type !== "DELETED" && select(change.object);
    if (has) {
      this.#write(
        changeFrame(resource, { change, type: had ? "MODIFIED" : "ADDED", object: change.object }, wanted),
      );
    } else if (had) {
      this.#write(changeFrame(resource, { change, type: "DELETED", object: lastState(change) }, wanted));
    }
  }

  #write(frame: string): void {
    this.#buffer.push(frame);
    if (this.#flushing || !this.#started) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    if (this.#buffer.length > 0) this.#response.write(this.#buffer.splice(0).join(""));
    if (this.#response.writableLength > backlogLimit) this.#response.destroy();
  }
}

/** The object as it left the selection, with the resourceVersion of the change. */
function lastState(change: Change): JsonObject {
  if (change.type === "DELETED" || change.previous === undefined) return change.object;
  return withMetadata(change.previous, { resourceVersion: String(change.version) });
}

/** All open watches, so that they can be ended with the API. */
export class Watches {
  readonly #open = new Set<Watcher>();
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Serves one watch until the client leaves or its time is over. @throws 400 before anything is sent */
  async serve(request: WatchRequest, response: ServerResponse): Promise<void> {
    const watcher = new Watcher(this.#store, request, response);
    this.#open.add(watcher);
    response.on("close", () => {
      this.#open.delete(watcher);
      watcher.end();
    });
    response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-cache, private" });
    await watcher.start();
  }

  /** Ends all of them in an orderly way. */
  stop(): void {
    for (const watcher of this.#open) watcher.end();
  }
}
