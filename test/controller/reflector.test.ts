import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Change } from "../../controller/delivery.ts";
import { type KubeClient, type KubeObject, secrets } from "../../controller/kube.ts";
import { Reflector, type ReflectorOptions, type ReflectorTiming } from "../../controller/reflector.ts";
import type { SecretError } from "../../formats/errors.ts";
import { json, ScriptedServer, status, until } from "./kube-scripted.ts";

type Value = string;

let server: ScriptedServer;
let kube: KubeClient;
let abort: AbortController;
let running: Promise<void>[];
let changes: Change<Value>[];
let errors: SecretError[];

beforeEach(async () => {
  server = await ScriptedServer.start();
  kube = server.client();
  abort = new AbortController();
  running = [];
  changes = [];
  errors = [];
});
afterEach(async () => {
  abort.abort();
  await Promise.all(running);
  kube.close();
  await server.stop();
});

const fast: Partial<ReflectorTiming> = { reconnectMs: 10, maxReconnectMs: 40, redeliverMs: 10 };

function follow(options: Partial<ReflectorOptions<Value>> = {}): Reflector<Value> {
  const reflector = new Reflector<Value>({
    kube,
    resource: secrets,
    transform: (object: KubeObject) => object["value"] as string,
    onChange: (change) => changes.push(change),
    onError: (error) => errors.push(error),
    ...options,
    timing: { ...fast, ...options.timing },
  });
  running.push(reflector.run(abort.signal));
  return reflector;
}

const told = (): string[] => changes.map((c) => `${c.type} ${c.key} ${c.old ?? ""}>${c.new ?? ""}`);
const watching = async (count = 1): Promise<void> => until(() => server.watches.size === count);

describe("list and watch", () => {
  test("changes arrive in order, with what was before", async () => {
    server.put("a", "1");
    const reflector = follow();
    await reflector.whenSynced();
    await watching();
    server.put("b", "1");
    server.put("a", "2");
    server.remove("b");
    await until(() => changes.length === 4);
    expect(told()).toEqual(["added n/a >1", "added n/b >1", "modified n/a 1>2", "deleted n/b 1>"]);
    expect([...reflector.keys()]).toEqual(["n/a"]);
    expect(reflector.get("n/a")).toBe("2");
    expect(server.seen[1]!.query.get("allowWatchBookmarks")).toBe("true");
  });

  test("what isn't kept leaves nothing behind, and what no longer is counts as deleted", async () => {
    const keep = (object: KubeObject): Value | undefined =>
      object["value"] === "other" ? undefined : (object["value"] as string);
    for (let i = 0; i < 20; i++) server.put(`other-${i}`, "other");
    server.put("a", "1");
    const reflector = follow({ transform: keep });
    await reflector.whenSynced();
    await watching();
    server.put("a", "other");
    await until(() => changes.length === 2);
    expect(told()).toEqual(["added n/a >1", "deleted n/a 1>"]);
    expect(reflector.size).toBe(0);
  });

  test("T34: pages; an expired continue starts over and still notices deletions", async () => {
    for (let i = 0; i < 1_200; i++) server.put(`s${i}`, "1");
    let expired = 0;
    server.script = (seen, response) => {
      if (seen.query.get("continue") !== "1000" || expired++ > 0) return false;
      server.remove("s7", true);
      return status(response, 410, { reason: "Expired" });
    };
    const reflector = follow();
    await reflector.whenSynced();
    expect(reflector.size).toBe(1_199);
    expect(server.seen.filter((s) => s.query.has("limit")).map((s) => s.query.get("limit"))).toEqual(
      Array(6).fill("500"),
    );
    expect(told().filter((line) => line.startsWith("deleted"))).toEqual(["deleted n/s7 1>"]);
    expect(errors.map((e) => e.code)).toEqual(["Expired"]);
  });

  test.each(["in the stream", "as the answer"])(
    "T34, T35: a watch that expires %s is a list, with deletions",
    async (where) => {
      server.put("a", "1");
      server.put("gone", "1");
      follow();
      await watching();
      server.remove("gone", true);
      server.objects.get("a")!.value = "2";
      server.objects.get("a")!.metadata.resourceVersion = String(++server.version);
      if (where === "in the stream") {
        server.send({ type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired" } });
      } else {
        server.script = (seen, response) => {
          if (!seen.query.has("watch")) return false;
          server.script = () => false;
          return status(response, 410);
        };
        server.endWatches();
      }
      await until(() => server.count("list") === 2 && server.watches.size === 1);
      expect(told().slice(2)).toEqual(["modified n/a 1>2", "deleted n/gone 1>"]);
    },
  );

  test("a watch that ends cleanly goes on from the last version, bookmarks included, without a list", async () => {
    server.put("a", "1");
    const reflector = follow();
    await watching();
    server.send({ type: "BOOKMARK", object: { kind: "Secret", metadata: { resourceVersion: "777" } } });
    const before = reflector.lastActivity;
    await until(() => reflector.lastActivity > before);
    server.endWatches();
    await until(() => server.count("watch") === 2);
    expect(server.seen.at(-1)!.query.get("resourceVersion")).toBe("777");
    expect(server.count("list")).toBe(1);
    expect(errors).toEqual([]);
  });

  test("a list besides the watch finds what the watch missed, and is silent about the rest", async () => {
    server.put("a", "1");
    server.put("b", "1");
    follow({ timing: { relistMs: 1 } });
    await watching();
    server.remove("b", true);
    server.endWatches();
    await until(() => server.count("list") === 2 && server.watches.size === 1);
    expect(told()).toEqual(["added n/a >1", "added n/b >1", "deleted n/b 1>"]);
  });
});

describe("T37: connections that break", () => {
  test("characters and lines split anywhere arrive whole", async () => {
    follow();
    await watching();
    const line = Buffer.from(
      `${JSON.stringify({ type: "ADDED", object: { metadata: { name: "a", namespace: "n", resourceVersion: "200" }, value: "Schlüssel 🔑" } })}\n`,
    );
    for (const byte of line) {
      server.raw(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => changes.length === 1);
    expect(told()).toEqual(["added n/a >Schlüssel 🔑"]);
  });

  test.each([
    ["cut within a line", (): void => server.cutWatches()],
    ["ended within a line", (): void => server.endWatches()],
    ["garbage", (): void => server.raw("}}\n")],
    ["not UTF-8", (): void => server.raw(Uint8Array.of(0xff, 0x0a))],
    ["an unknown event", (): void => server.raw('"}\n{"type":"NEWS","object":{}}\n')],
  ])("%s: nothing of the line is taken, and the watch goes on from the version before", async (_, fault) => {
    const reflector = follow();
    await watching();
    server.put("a", "1");
    await until(() => reflector.size === 1);
    server.raw('{"type":"ADDED","object":{"metadata":{"name":"half","resourceVersion":"999"');
    await new Promise((resolve) => setTimeout(resolve, 20));
    fault();
    await until(() => server.count("watch") === 2);
    expect(server.seen.at(-1)!.query.get("resourceVersion")).toBe("101");
    expect(told()).toEqual(["added n/a >1"]);
    expect(errors.map((e) => e.code)).toEqual(["RemoteUnavailable"]);
    expect(server.count("list")).toBe(1);
  });

  test("T33: a stream that falls silent beyond its end is dropped, and readiness sees it", async () => {
    const reflector = follow({ timing: { watchSeconds: 0.1, watchSlackMs: 50 } });
    await watching();
    const heard = reflector.lastActivity;
    await until(() => errors.length === 1);
    expect(errors[0]!.message).toContain("nothing heard for");
    expect(reflector.lastActivity).toBe(heard);
    await until(() => server.count("watch") >= 2 && reflector.lastActivity > heard);
  });

  test("an API server that is away is asked again, ever less often, until it is back", async () => {
    server.put("a", "1");
    server.script = (_, response) => {
      response.destroy();
      return true;
    };
    const reflector = follow();
    await until(() => errors.length >= 8);
    server.script = () => false;
    await reflector.whenSynced();
    expect(told()).toEqual(["added n/a >1"]);
  });

  test("a version that the server doesn't know any more is given up after some failures", async () => {
    follow();
    await watching();
    server.script = (seen, response) => seen.query.has("watch") && status(response, 500);
    server.cutWatches();
    await until(() => server.count("list") === 2);
    server.script = () => false;
    await watching();
    expect(errors.length).toBeGreaterThanOrEqual(6);
  });

  test("at most one connect per period, however fast the watches fail", async () => {
    server.script = (seen, response) => {
      if (!seen.query.has("watch")) return false;
      response.writeHead(200).end('{"type":"ERROR","object":{"code":500}}\n');
      return true;
    };
    follow({ timing: { reconnectMs: 50, maxReconnectMs: 50 } });
    const startedAt = performance.now();
    await until(() => server.count("watch") >= 6);
    // A lower bound that the machine's load can only raise.
    expect(performance.now() - startedAt).toBeGreaterThan(5 * 45);
  });

  test("429 on a watch is obeyed", async () => {
    server.script = (seen, response) => {
      if (!seen.query.has("watch")) return false;
      server.script = () => false;
      response.setHeader("Retry-After", "1");
      return status(response, 429);
    };
    follow();
    const startedAt = performance.now();
    await watching();
    expect(errors.map((e) => e.code)).toEqual(["Throttled"]);
    expect(performance.now() - startedAt).toBeGreaterThan(950);
  });
});

describe("T55: a kind that isn't served", () => {
  const missing = (): void => {
    server.script = (_, response) => {
      response.writeHead(404).end("404 page not found\n");
      return true;
    };
  };

  test("is waited for", async () => {
    missing();
    server.put("a", "1");
    const reflector = follow();
    await until(() => errors.length === 3);
    expect([reflector.served, reflector.synced]).toEqual([false, false]);
    server.script = () => false;
    await reflector.whenSynced();
    expect(reflector.served).toBe(true);
  });

  test("by default proves no deletion; the list after it does", async () => {
    server.put("a", "1");
    server.put("b", "1");
    const reflector = follow();
    await watching();
    missing();
    server.cutWatches();
    await until(() => reflector.served === false);
    expect(reflector.size).toBe(2);
    server.remove("b");
    server.script = () => false;
    await watching();
    expect(told().slice(2)).toEqual(["deleted n/b 1>"]);
  });

  test("counts as gone by option", async () => {
    server.put("a", "1");
    const reflector = follow({ unservedMeansGone: true });
    await watching();
    missing();
    server.cutWatches();
    await until(() => reflector.served === false);
    expect(told().slice(1)).toEqual(["deleted n/a 1>"]);
  });
});

describe("T36: a handler that throws", () => {
  test("concerns one object, which is handed over again as it is then", async () => {
    const failed: string[] = [];
    let broken = true;
    follow({
      onChange: (change) => {
        if (broken && change.key === "n/bad") throw new Error("defect");
        changes.push(change);
      },
      onHandlerError: (key) => failed.push(key),
    });
    await watching();
    server.put("bad", "1");
    server.put("good", "1");
    server.put("bad", "2");
    await until(() => failed.length >= 4 && changes.length === 1);
    broken = false;
    await until(() => changes.length === 2);
    expect(told()).toEqual(["added n/good >1", "added n/bad >2"]);
    expect(errors).toEqual([]);
    expect(server.count("list")).toBe(1);
  });

  test("at an object that comes and goes, there is nothing left to tell", async () => {
    let failures = 0;
    const reflector = follow({
      onChange: (change) => {
        if (change.key === "n/bad") throw new Error("defect");
        changes.push(change);
      },
      onHandlerError: () => failures++,
      timing: { redeliverMs: 60_000 },
    });
    await watching();
    server.put("bad", "1");
    server.remove("bad");
    server.put("good", "1");
    await until(() => changes.length === 1);
    expect([failures, reflector.size]).toEqual([1, 1]);
  });

  test("a transform that throws costs its object only", async () => {
    const failed: string[] = [];
    server.put("bad", "1");
    server.put("good", "1");
    const reflector = follow({
      transform: (object) => {
        if (object.metadata.name === "bad") throw new TypeError("defect");
        return "kept";
      },
      onHandlerError: (key) => failed.push(key),
    });
    await reflector.whenSynced();
    expect([failed, [...reflector.keys()]]).toEqual([["n/bad"], ["n/good"]]);
  });
});

test("a page that is too large to read is asked for in smaller pages", async () => {
  const value = "x".repeat(1024 * 1024);
  for (let i = 0; i < 80; i++) server.put(`s${i}`, value);
  const reflector = follow({ transform: () => "kept" });
  await reflector.whenSynced();
  expect(reflector.size).toBe(80);
  expect(errors.map((e) => e.code)).toEqual(["Rejected", "Rejected"]);
});

test("a consumer that is slow slows the sender down instead of filling memory", async () => {
  server.put("a", "1");
  await new Promise((resolve) => setImmediate(resolve));
  const events = kube.watch(secrets, { resourceVersion: "1", timeoutSeconds: 60, signal: abort.signal });
  const first = events[Symbol.asyncIterator]().next();
  await watching();
  const [watch] = server.watches;
  const line = `${JSON.stringify({ type: "ADDED", object: { metadata: { name: "b" }, value: "y".repeat(64 * 1024) } })}\n`;
  watch!.write(line);
  await first;
  // Written to a socket that nobody reads, the data piles up at the sender.
  for (let i = 0; i < 400; i++) watch!.write(line);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(watch!.writableLength).toBeGreaterThan(1024 * 1024);
});

test("it stops at once, also in the middle of a list or a pause", async () => {
  server.script = (_, response) => json(response, {}, 500);
  follow({ timing: { reconnectMs: 60_000, maxReconnectMs: 60_000 } });
  await until(() => errors.length === 1);
  server.script = () => true;
  follow();
  await until(() => server.count("list") === 2);
  abort.abort();
  await Promise.all(running);
});
