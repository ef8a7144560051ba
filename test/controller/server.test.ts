import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { connect } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createLog } from "../../controller/log.ts";
import { Metrics } from "../../controller/metrics.ts";
import {
  startServer,
  type RunningServer,
  type ServerLimits,
  type ServerOptions,
} from "../../controller/server.ts";
import { issueKey } from "../../formats/issue-key.ts";
import { isObject, readManifests, toJson, toYaml, type JsonObject } from "../../formats/manifest.ts";
import { seal, sealItem } from "../../formats/seal.ts";
import { parseSealedSecret, sealedSecretManifest } from "../../formats/sealed-secret.ts";
import { parseCertificate, type SealingCertificate } from "../../formats/sealing-certificate.ts";
import { parsePrivateKey, type SealingKey } from "../../formats/sealing-key.ts";
import { unseal } from "../../formats/unseal.ts";

interface Pair {
  key: SealingKey;
  certificate: SealingCertificate;
}
interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

let newest: Pair, older: Pair, foreign: Pair;
let server: RunningServer;
let metrics: Metrics;
const lines: string[] = [];
const sink = { write: (line: string) => lines.push(line) };
const log = createLog({ level: "DEBUG", format: "text", infoToStdout: true, stdout: sink, stderr: sink });
const backend = {
  has: true,
  isReady: true,
  certificate: () => (backend.has ? newest.certificate : undefined),
  keys: () => (backend.has ? [newest.key, older.key] : []),
  ready: () => ({ ok: backend.isReady, reason: backend.isReady ? "ok" : "a watch is silent" }),
};

async function issued(): Promise<Pair> {
  const terms = { bits: 2048, commonName: "", notBefore: new Date(), ttlSeconds: 3600 };
  const { certificatePem, privateKeyPem } = await issueKey(terms);
  return { key: await parsePrivateKey(privateKeyPem), certificate: parseCertificate(certificatePem) };
}

type Changes = Partial<ServerLimits> &
  Partial<Pick<ServerOptions, "listen" | "metricsListen" | "acceptBlob">>;

function start({
  listen,
  metricsListen,
  acceptBlob = true,
  ...limits
}: Changes = {}): Promise<RunningServer> {
  metrics = new Metrics({ revision: "v1" });
  const loopback = { host: "127.0.0.1", port: 0 };
  return startServer({
    ...{ listen: listen ?? loopback, metricsListen: metricsListen ?? loopback },
    ...{ backend, log, metrics, acceptBlob },
    limits: { rate: 100_000, burst: 100_000, ...limits },
  });
}

/** Runs a test against a server of its own. */
async function withServer(changes: Changes, use: (own: RunningServer) => Promise<void>): Promise<void> {
  const own = await start(changes);
  try {
    await use(own);
  } finally {
    await own.stop(0);
  }
}

beforeAll(async () => {
  [newest, older, foreign] = await Promise.all([issued(), issued(), issued()]);
  server = await start();
});
afterAll(() => server.stop(0));
beforeEach(() => {
  lines.length = 0;
  Object.assign(backend, { has: true, isReady: true });
});

interface Asked {
  port?: number;
  method?: string;
  body?: string | Uint8Array;
  headers?: Record<string, string>;
}

function ask(path: string, { port = server.port, method, body, headers = {} }: Asked = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const verb = method ?? (body === undefined ? "GET" : "POST");
    const length = body === undefined ? {} : { "Content-Length": String(Buffer.byteLength(body)) };
    const options = { host: "127.0.0.1", port, path, method: verb, headers: { ...length, ...headers } };
    const request = httpRequest({ ...options, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      const status = response.statusCode ?? 0;
      response.on("end", () =>
        resolve({ status, headers: response.headers, body: Buffer.concat(chunks).toString() }),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** Sends raw bytes and gives what comes back until the other side closes. */
function raw(port: number, write: (send: (text: string) => boolean) => void): Promise<string> {
  return new Promise((resolve) => {
    let received = "";
    const socket = connect(port, "127.0.0.1", () => write((text) => socket.write(text)));
    socket.on("data", (chunk) => (received += chunk.toString()));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(received));
  });
}

async function sealed(pair: Pair = newest, annotations: Record<string, string> = {}): Promise<JsonObject> {
  const entries = new Map([
    ["user", Buffer.from("admin")],
    ["password", Buffer.from("hunter2")],
  ]);
  const metadata = { name: "db", namespace: "shop", labels: { app: "db" }, annotations };
  return sealedSecretManifest(
    await seal({ metadata, type: "Opaque", entries }, { certificate: pair.certificate }),
  );
}

/** A copy with the value at a path replaced. */
function changed(object: JsonObject, path: string[], value: unknown): JsonObject {
  const copy = structuredClone(object);
  const [last = "", ...parents] = [...path].reverse();
  let parent: JsonObject = copy;
  for (const name of parents.reverse()) {
    const child = parent[name];
    parent[name] = isObject(child) ? child : {};
    parent = parent[name] as JsonObject;
  }
  parent[last] = value;
  return copy;
}

function altered(item: string): string {
  const bytes = Buffer.from(item, "base64");
  bytes[bytes.length - 1]! ^= 1;
  return bytes.toString("base64");
}

function itemsOf(object: JsonObject): Record<string, string> {
  return (object["spec"] as { encryptedData: Record<string, string> }).encryptedData;
}

const scopePrefix = "sealedsecrets.bitnami.com/";

describe("probes and certificate", () => {
  test("/healthz", async () => {
    for (const port of [server.port, server.metricsPort]) {
      const reply = await ask("/healthz", { port });
      expect([reply.status, reply.body]).toEqual([200, "ok\n"]);
      expect(reply.headers["content-type"]).toBe("text/plain; charset=utf-8");
    }
  });
  test("/readyz tells why not", async () => {
    expect((await ask("/readyz")).status).toBe(200);
    backend.isReady = false;
    const reply = await ask("/readyz");
    expect([reply.status, reply.body]).toEqual([503, "a watch is silent\n"]);
    expect((await ask("/healthz")).status).toBe(200);
  });
  test("/v1/cert.pem", async () => {
    const reply = await ask("/v1/cert.pem");
    expect([reply.status, reply.body]).toEqual([200, newest.certificate.pem]);
    expect(reply.headers["content-type"]).toBe("application/x-pem-file");
    expect((await ask("/v1/cert.pem?x=y", { method: "HEAD" })).body).toBe("");
  });
  test("/v1/cert.pem without a key", async () => {
    backend.has = false;
    const reply = await ask("/v1/cert.pem");
    expect([reply.status, reply.body]).toEqual([500, "cannot get certificate\n"]);
    expect((await ask("/v1/verify", { body: toJson(await sealed()) })).status).toBe(503);
  });
  test("unknown paths and wrong methods", async () => {
    expect((await ask("/")).status).toBe(404);
    expect((await ask("/metrics")).status).toBe(404);
    for (const [path, method, allow] of [
      ["/v1/cert.pem", "POST", "GET, HEAD"],
      ["/v1/verify", "GET", "POST"],
      ["/v1/rotate", "PUT", "POST"],
      ["/healthz", "DELETE", "GET, HEAD"],
    ] as const) {
      const reply = await ask(path, { method });
      expect([reply.status, reply.headers.allow]).toEqual([405, allow]);
    }
  });
});

describe("/v1/verify", () => {
  const verify = async (object: JsonObject) => {
    const reply = await ask("/v1/verify", { body: toJson(object) });
    expect(reply.body).toBe("");
    return reply.status;
  };
  test("200 for what opens: JSON and YAML, any key, any scope, no items", async () => {
    expect(await verify(await sealed())).toBe(200);
    expect(await verify(await sealed(older))).toBe(200);
    expect((await ask("/v1/verify", { body: toYaml(await sealed()) })).status).toBe(200);
    const wide = await sealed(newest, { [`${scopePrefix}namespace-wide`]: "true" });
    expect(await verify(changed(wide, ["metadata", "name"], "other"))).toBe(200);
    expect(await verify(changed(await sealed(), ["spec", "encryptedData"], {}))).toBe(200);
  });
  test("409 for what does not", async () => {
    const object = await sealed();
    expect(await verify(await sealed(foreign))).toBe(409);
    expect(await verify(changed(object, ["metadata", "name"], "other"))).toBe(409);
    expect(await verify(changed(object, ["metadata", "namespace"], "other"))).toBe(409);
    expect(await verify(changed(object, ["metadata", "namespace"], undefined))).toBe(409);
    expect(await verify(changed(object, ["spec", "encryptedData", "user"], "%%%"))).toBe(409);
    expect(await verify(changed(object, ["spec", "encryptedData", "user"], 1))).toBe(409);
  });
  test("the deprecated blob opens unless it is refused", async () => {
    const target = { scope: "strict", namespace: "shop", name: "db" } as const;
    const blob = sealItem(Buffer.from("{}"), target, newest.certificate);
    const object = changed(await sealed(), ["spec"], { data: blob, encryptedData: {} });
    expect(await verify(object)).toBe(200);
    expect(await verify(changed(await sealed(), ["spec", "data"], blob))).toBe(409);
    await withServer({ acceptBlob: false }, async ({ port }) => {
      expect((await ask("/v1/verify", { port, body: toJson(object) })).status).toBe(409);
    });
  });
  test("400 for what is not one SealedSecret", async () => {
    const object = await sealed();
    const bodies = [
      "",
      "{",
      "a: b: c",
      "[]",
      Buffer.from([0xff, 0xfe]),
      toJson({ ...object, kind: "Secret" }),
      toJson({ ...object, apiVersion: "v1" }),
      toJson({ ...object, kind: undefined }),
      toJson({ ...object, spec: undefined }),
      toJson(object) + toJson(object),
      `${toYaml(object)}---\n${toYaml(object)}`,
    ];
    for (const body of bodies) {
      const reply = await ask("/v1/verify", { body });
      expect([reply.status, reply.body]).toEqual([400, ""]);
    }
  });
});

describe("/v1/rotate", () => {
  test("re-seals to the newest key and keeps everything else", async () => {
    const before = changed(await sealed(older), ["spec", "template", "data"], { conf: "{{ .user }}" });
    before["metadata"] = { ...(before["metadata"] as JsonObject), labels: { top: "1" } };
    const reply = await ask("/v1/rotate", { body: toJson(before) });
    expect([reply.status, reply.headers["content-type"]]).toEqual([200, "application/json"]);
    const after = JSON.parse(reply.body) as JsonObject;
    expect([after["apiVersion"], after["kind"]]).toEqual(["bitnami.com/v1alpha1", "SealedSecret"]);
    expect(changed(after, ["spec", "encryptedData"], {})).toEqual(
      changed(before, ["spec", "encryptedData"], {}),
    );
    expect(itemsOf(after)["user"]).not.toBe(itemsOf(before)["user"]);
    const { secret } = await unseal(parseSealedSecret({ object: after, place: "answer" }), [newest.key]);
    expect(Buffer.from(secret.entries.get("password")!).toString()).toBe("hunter2");
  });
  test("the deprecated blob stays one", async () => {
    const target = { scope: "strict", namespace: "shop", name: "db" } as const;
    const blob = sealItem(Buffer.from("not even JSON"), target, older.certificate);
    const reply = await ask("/v1/rotate", {
      body: toJson(changed(await sealed(), ["spec"], { data: blob, encryptedData: {} })),
    });
    expect(reply.status).toBe(200);
    expect((JSON.parse(reply.body) as { spec: { data: string } }).spec.data).not.toBe(blob);
  });
  test("409 without a body for what does not open, 400 for what is no SealedSecret", async () => {
    const reply = await ask("/v1/rotate", { body: toJson(await sealed(foreign)) });
    expect([reply.status, reply.body]).toEqual([409, ""]);
    expect((await ask("/v1/rotate", { body: "{" })).status).toBe(400);
  });

  test("T01: a template cannot widen the scope", async () => {
    for (const scope of ["cluster-wide", "namespace-wide"]) {
      const path = ["spec", "template", "metadata", "annotations", `${scopePrefix}${scope}`];
      const reply = await ask("/v1/rotate", { body: toJson(changed(await sealed(), path, "true")) });
      expect(reply.status).toBe(200);
      const after = JSON.parse(reply.body) as JsonObject;
      const keys = [newest.key];
      const unsealed = (object: JsonObject) => unseal(parseSealedSecret({ object, place: "answer" }), keys);
      await unsealed(after);
      for (const moved of [
        changed(after, ["metadata", "name"], "thief"),
        changed(after, ["metadata", "namespace"], "thief"),
        changed(after, ["metadata", "annotations", `${scopePrefix}${scope}`], "true"),
      ])
        await expect(unsealed(moved)).rejects.toMatchObject({ code: "CannotUnseal" });
    }
  });
  test("T01: an object that claims a wider scope than it was sealed for is not rotated", async () => {
    const path = ["metadata", "annotations", `${scopePrefix}cluster-wide`];
    const reply = await ask("/v1/rotate", { body: toJson(changed(await sealed(), path, "true")) });
    expect(reply.status).toBe(409);
  });
});

describe("T02: nothing can be guessed", () => {
  const guess = (value: string) => `{{ if eq .password "${value}" }}{{ fail "x" }}{{ end }}`;
  /** All that an observer sees but for the ciphertext itself and the time. */
  const seen = ({ status, headers, body }: Reply) => {
    const { date: _, "x-ratelimit-remaining": __, ...rest } = headers;
    return JSON.stringify({ status, rest, length: body.length });
  };
  const spread = async (path: string, objects: Record<string, JsonObject>, rounds: number) => {
    const answers = new Set<string>();
    const times: Record<string, number[]> = {};
    for (let round = 0; round < rounds; round += 1) {
      // In another order each time, so that what the machine does besides falls on all alike.
      const shuffled = Object.entries(objects).sort(() => Math.random() - 0.5);
      for (const [name, object] of shuffled) {
        const started = performance.now();
        answers.add(seen(await ask(path, { body: toJson(object) })));
        (times[name] ??= []).push(performance.now() - started);
      }
    }
    const medians = Object.entries(times).map(
      ([name, all]) => `${name} ${all.sort((a, b) => a - b)[rounds >> 1]!.toFixed(2)} ms`,
    );
    console.log(`${path}: ${medians.join(", ")}`);
    return [...answers];
  };

  test.each(["/v1/verify", "/v1/rotate"])("%s: right and wrong guesses in templates", async (path) => {
    const victim = await sealed();
    const template = (text: string) => changed(victim, ["spec", "template", "data"], { x: text });
    const answers = await spread(
      path,
      {
        right: template(guess("hunter2")),
        wrong: template(guess("hunter3")),
        broken: template("{{ nonsense  .password }} 0000000000000000000000"),
      },
      30,
    );
    // Rotate sends the template back, so the broken one, of another length, is compared apart.
    expect(answers).toHaveLength(path === "/v1/verify" ? 1 : 2);
  });

  test.each(["/v1/verify", "/v1/rotate"])("%s: why an item does not open", async (path) => {
    const victim = await sealed();
    const { user, password } = itemsOf(victim) as { user: string; password: string };
    const items = (first: string, second: string) =>
      changed(victim, ["spec", "encryptedData"], { user: first, password: second });
    const other = itemsOf(await sealed(foreign));
    const answers = await spread(
      path,
      {
        foreign: items(user, other["password"]!),
        altered: items(user, altered(password)),
        "altered first": items(altered(user), password),
        "altered both": items(altered(user), altered(password)),
        scope: changed(victim, ["metadata", "name"], "other"),
        "no base64": items(user, "%"),
        cut: items(user, Buffer.from(password, "base64").subarray(0, 100).toString("base64")),
      },
      20,
    );
    expect(answers).toHaveLength(1);
    expect(answers[0]).toContain('"status":409');
    expect(lines.join("")).not.toMatch(/Altered|CannotUnseal/);
  });
});

describe("T68: bounds", () => {
  test("100 MB bodies, announced or not, are refused at once and leave no memory behind", async () => {
    const before = process.memoryUsage().rss;
    const megabyte = Buffer.alloc(1 << 20, "x");
    const flood = (head: string, prefix: string): Promise<string> => {
      const socket = connect(server.port, "127.0.0.1");
      let received = "";
      socket.on("data", (chunk) => (received += chunk.toString())).on("error", () => undefined);
      const send = async () => {
        socket.write(head);
        for (let sent = 0; sent < 100 && socket.writable; sent += 1) {
          socket.write(prefix);
          // Without waiting, the whole flood would sit in this process's own memory.
          await new Promise((resolve) => socket.write(megabyte, resolve));
          socket.write(prefix === "" ? "" : "\r\n");
        }
      };
      return new Promise((resolve) => {
        socket.on("close", () => resolve(received));
        void send();
      });
    };
    const post = "POST /v1/verify HTTP/1.1\r\nHost: x\r\n";
    const replies = [
      await flood(`${post}Content-Length: 104857600\r\n\r\n`, ""),
      await flood(`${post}Transfer-Encoding: chunked\r\n\r\n`, "100000\r\n"),
    ];
    for (const reply of replies) expect(reply).toMatch(/^HTTP\/1\.1 413 /);
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    console.log(`rss grew by ${grown.toFixed(0)} MiB`);
    expect(grown).toBeLessThan(128);
  });
  test("the limit itself still passes, one byte more does not", async () => {
    await withServer({ maxBytes: 10_000 }, async ({ port }) => {
      const body = toJson(await sealed());
      const padded = (length: number) => body + " ".repeat(length - body.length);
      expect((await ask("/v1/verify", { port, body: padded(10_000) })).status).toBe(200);
      expect((await ask("/v1/verify", { port, body: padded(10_001) })).status).toBe(413);
      const headers = { Expect: "100-continue" };
      expect((await ask("/v1/verify", { port, headers, body: padded(10_000) })).status).toBe(200);
      expect((await ask("/v1/verify", { port, headers, body: padded(10_001) })).status).toBe(413);
    });
  });
  test("a head or a body that never ends gets 408", async () => {
    await withServer({ headTimeoutMs: 200, readTimeoutMs: 400 }, async ({ port }) => {
      const started = performance.now();
      const head = raw(port, (send) => send("GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "));
      const body = raw(port, (send) =>
        send("POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"),
      );
      for (const reply of await Promise.all([head, body])) expect(reply).toMatch(/^HTTP\/1\.1 408 /);
      expect(performance.now() - started).toBeLessThan(10_000);
    });
  });
  test("a head of 20 KB gets 431", async () => {
    const reply = await raw(server.port, (send) =>
      send(`GET / HTTP/1.1\r\nHost: x\r\nX-A: ${"a".repeat(20_000)}\r\n\r\n`),
    );
    expect(reply).toMatch(/^HTTP\/1\.1 431 /);
  });
  test("slow bodies make room for others", async () => {
    await withServer({ maxBodies: 2 }, async ({ port }) => {
      const head = "POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{";
      const slow = Array.from({ length: 6 }, () => raw(port, (send) => send(head)));
      const first = await Promise.race(slow);
      expect(first).toMatch(/^HTTP\/1\.1 408 /);
      expect((await ask("/v1/verify", { port, body: toJson(await sealed()) })).status).toBe(200);
    });
  });
  test("one peer cannot take all connections, and idle ones are closed", async () => {
    await withServer({ connectionsPerPeer: 3, headTimeoutMs: 300 }, async ({ port }) => {
      const idle = Array.from({ length: 5 }, () => raw(port, () => undefined));
      await Promise.race(idle);
      await Promise.all(idle);
      expect((await ask("/healthz", { port })).status).toBe(200);
    });
  });
  test("an answer that takes too long is given up", async () => {
    await withServer({ writeTimeoutMs: 100 }, async ({ port }) => {
      const reply = await raw(port, (send) =>
        send("POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"),
      );
      expect(reply).toBe("");
    });
  });
  const deep = (open: string, close: string, depth: number) => open.repeat(depth) + "1" + close.repeat(depth);
  test.each([
    ["deep JSON", deep('{"a":', "}", 5000), 400],
    ["deeper JSON", deep('{"a":', "}", 150_000), 413],
    ["JSON arrays", `{"a":${"[".repeat(1_000_000)}`, 413],
    ["many JSON objects", "{}".repeat(500_000), 413],
    ["deep YAML", deep("[", "]", 1500), 400],
    ["deeper YAML", "[".repeat(1_000_000), 413],
    ["YAML of many lines", Array.from({ length: 100_000 }, (_, at) => `k${at}: v`).join("\n"), 413],
    ["almost a YAML number", `a: -${"_".repeat(1_000_000)}x1`, 413],
    ["YAML of nested keys", Array.from({ length: 1000 }, (_, at) => `${" ".repeat(at)}a:`).join("\n"), 400],
    [
      "alias bomb",
      Array.from(
        { length: 12 },
        (_, at) => `a${at}: &a${at} [${at === 0 ? "1" : `*a${at - 1},`.repeat(10)}]`,
      ).join("\n"),
      400,
    ],
  ])("%s is refused", async (_, body, status) => {
    const started = performance.now();
    const reply = await ask("/v1/verify", { body });
    console.log(`${body.length} bytes refused in ${(performance.now() - started).toFixed(0)} ms`);
    expect([reply.status, reply.body]).toEqual([status, ""]);
  });
  test("more objects than can be opened are put off, and the probes still answer", async () => {
    await withServer({ maxOpenings: 2, openingsAtOnce: 1 }, async ({ port }) => {
      const item = itemsOf(await sealed())["user"]!;
      const many = Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`k${at}`, item]));
      const body = toJson(changed(await sealed(), ["spec", "encryptedData"], many));
      const all = Array.from({ length: 6 }, () => ask("/v1/verify", { port, body }));
      const health = await ask("/healthz", { port });
      const statuses = (await Promise.all(all)).map(({ status, headers }) => {
        if (status === 503) expect(headers["retry-after"]).toBe("1");
        return status;
      });
      expect(health.status).toBe(200);
      expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(2);
      expect(statuses.filter((status) => status === 503).length).toBeGreaterThanOrEqual(1);
    });
  });
});

describe("T69: the limiter", () => {
  const upstream = { rate: 2, burst: 2 };
  test("holds whatever the forwarding headers say, for each endpoint alone, and spares the certificate", async () => {
    await withServer(upstream, async ({ port }) => {
      const body = toJson(await sealed());
      for (const path of ["/v1/verify", "/v1/rotate"]) {
        const replies: Reply[] = [];
        const started = performance.now();
        for (let at = 0; at < 30; at += 1) {
          const claim = `10.0.${at}.1`;
          const headers = { "X-Forwarded-For": claim, Forwarded: `for=${claim}`, "X-Real-IP": claim };
          replies.push(await ask(path, { port, body, headers }));
        }
        const earned = Math.ceil((performance.now() - started) / 500);
        const admitted = replies.filter(({ status }) => status === 200).length;
        expect(admitted).toBeGreaterThanOrEqual(3);
        expect(admitted).toBeLessThanOrEqual(3 + earned);
        const refused = replies.find(({ status }) => status === 429)!;
        expect(refused.body).toBe("limit exceeded\n");
        expect(refused.headers).toMatchObject({
          "x-ratelimit-limit": "3",
          "x-ratelimit-remaining": "0",
          "retry-after": "1",
        });
        expect(Number(refused.headers["x-ratelimit-reset"])).toBeGreaterThan(0);
      }
      for (let at = 0; at < 20; at += 1) expect((await ask("/v1/cert.pem", { port })).status).toBe(200);
    });
  });
});

test("T70: no part of a bad body shows in a log line or an answer", async () => {
  const canary = "cAnArY7";
  const object = await sealed();
  const bodies = [
    canary,
    `{"${canary}`,
    `{"a": ${canary}}`,
    `${canary}: ${canary}: ${canary}`,
    `a: *${canary}`,
    `a: !${canary} b`,
    `${canary}: 1\n${canary}: 2`,
    Buffer.concat([Buffer.from(canary), Buffer.from([0xff])]),
    toJson({ ...object, kind: canary }),
    toJson({ ...object, apiVersion: canary }),
    toJson(changed(object, ["metadata", "labels"], { [canary]: 1 })),
    toJson(changed(object, ["metadata", "annotations"], canary)),
    toJson(changed(object, ["metadata", "name"], canary)),
    toJson(changed(object, ["spec", "encryptedData"], { [canary]: canary })),
    toJson(changed(object, ["spec", "template", "metadata"], { name: { [canary]: canary } })),
    toJson(changed(object, ["spec", "template", "data"], { [canary]: `{{ ${canary}` })),
    toJson({ apiVersion: "v1", kind: "List", items: [canary] }),
    toJson({ apiVersion: canary, kind: `${canary}List`, items: [{ [canary]: canary }, object] }),
  ];
  for (const path of ["/v1/verify", "/v1/rotate"]) {
    for (const body of bodies) {
      const { status, headers, body: answer } = await ask(path, { body });
      if (status === 200 && path === "/v1/rotate") continue;
      expect(JSON.stringify([headers, answer])).not.toContain(canary);
    }
  }
  await ask(`/${canary}?${canary}`, { headers: { [canary]: canary } });
  await raw(server.port, (send) => send(`${canary} ${canary}\r\n\r\n`));
  expect(lines.length).toBeGreaterThan(10);
  expect(lines.join("")).not.toContain(canary);
  const { text } = await metrics.exposition();
  expect(text).not.toContain(canary);
});

test("T71: names of the language's own have no effect", async () => {
  const target = { scope: "strict", namespace: "shop", name: "db" } as const;
  const item = sealItem(Buffer.from("value"), target, older.certificate);
  const names = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"];
  const items = names.map((name) => `${JSON.stringify(name)}: ${JSON.stringify(item)}`).join(", ");
  const body = `{"apiVersion":"bitnami.com/v1alpha1","kind":"SealedSecret","__proto__":{"polluted":1},
    "metadata":{"name":"db","namespace":"shop","__proto__":{"polluted":1},"labels":{"__proto__":"1","constructor":"2"}},
    "spec":{"__proto__":{"polluted":1},"encryptedData":{${items}},"template":{"data":{"__proto__":"3"}}}}`;
  expect((await ask("/v1/verify", { body })).status).toBe(200);
  const reply = await ask("/v1/rotate", { body });
  expect(reply.status).toBe(200);
  const [manifest] = readManifests(Buffer.from(reply.body));
  const { encryptedData, template } = parseSealedSecret(manifest!);
  expect(Object.keys(encryptedData).sort()).toEqual([...names].sort());
  expect(Object.entries(template.data!)).toEqual([["__proto__", "3"]]);
  expect("polluted" in {}).toBe(false);
});

test("metrics count the three endpoints", async () => {
  await withServer({}, async ({ port, metricsPort }) => {
    await ask("/v1/cert.pem", { port });
    await ask("/v1/verify", { port, body: toJson(await sealed(foreign)) });
    await ask("/v1/other", { port });
    await ask("/healthz", { port });
    const reply = await ask("/metrics", { port: metricsPort });
    expect(reply.headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
    const counted = reply.body.match(/^sealed_secrets_controller_http_requests_total.*$/gm)!;
    expect(counted.sort()).toEqual([
      `sealed_secrets_controller_http_requests_total{path="/v1/cert.pem",method="get",code="200"} 1`,
      `sealed_secrets_controller_http_requests_total{path="/v1/verify",method="post",code="409"} 1`,
    ]);
  });
});

test("an address in use is a clear error", async () => {
  const listen = { host: "127.0.0.1", port: server.port };
  const message = `cannot listen on 127.0.0.1:${server.port} (EADDRINUSE)`;
  await expect(start({ listen })).rejects.toMatchObject({ code: "Usage", message });
  await expect(start({ metricsListen: listen })).rejects.toMatchObject({ code: "Usage", message });
});

test("a stop lets the request under way finish, and cuts what does not", async () => {
  const own = await start({ openingsAtOnce: 1 });
  const item = itemsOf(await sealed())["user"]!;
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`k${at}`, item]));
  const body = toJson(changed(await sealed(), ["spec", "encryptedData"], many));
  const answer = ask("/v1/verify", { port: own.port, body });
  const hung = raw(own.port, (send) => send("GET / HTTP/1.1\r\n"));
  await new Promise((resolve) => setTimeout(resolve, 50));
  await own.stop(3000);
  expect((await answer).status).toBe(200);
  expect(await hung).not.toContain("200");
  await expect(ask("/healthz", { port: own.port })).rejects.toThrow("ECONNREFUSED");
});
