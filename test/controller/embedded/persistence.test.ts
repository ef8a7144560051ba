import { spawn, type ChildProcess } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startEmbeddedApi } from "../../../controller/embedded/api.ts";
import { Client, type Kubeconfig } from "./client.ts";

const secrets = "/api/v1/namespaces/default/secrets";
let root: string;
let directory: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "sealwright-embedded-"));
  directory = join(root, "data");
});

afterEach(() => rmSync(root, { recursive: true }));

async function withApi<T>(work: (client: Client) => Promise<T>): Promise<T> {
  const api = await startEmbeddedApi({ crds: [], directory });
  const client = new Client(api);
  try {
    return await work(client);
  } finally {
    client.close();
    await api.stop();
  }
}

function secret(name: string, value = ""): { method: string; path: string; body: object } {
  return { method: "POST", path: secrets, body: { metadata: { name }, stringData: { value } } };
}

test("objects, versions, certificates and token outlive a restart; files are private", async () => {
  const first = await withApi(async (client) => {
    const made = await client.call(secret("a", "b"));
    await client.call({
      method: "DELETE",
      path: `${secrets}/${(await client.call(secret("gone"))).body.metadata.name}`,
    });
    return { made, access: client.access };
  });
  await withApi(async (client) => {
    expect(client.access.token).toBe(first.access.token);
    expect(client.access.caPem).toBe(first.access.caPem);
    expect((await client.call({ path: `${secrets}/a` })).body).toEqual(first.made.body);
    expect((await client.call({ path: `${secrets}/gone` })).status).toBe(404);
    const next = await client.call(secret("next"));
    expect(Number(next.body.metadata.resourceVersion)).toBeGreaterThan(
      Number(first.made.body.metadata.resourceVersion) + 2,
    );
  });
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  for (const file of ["log", "identity.json", "kubeconfig"]) {
    expect(statSync(join(directory, file)).mode & 0o777).toBe(0o600);
  }
});

test("a watch goes on after a restart from the resourceVersion before it", async () => {
  const version = await withApi(async (client) => {
    const made = await client.call(secret("a"));
    await client.call(secret("b"));
    return made.body.metadata.resourceVersion;
  });
  await withApi(async (client) => {
    const events = await client.watch(
      `${secrets}?watch=1&resourceVersion=${version}`,
      (seen) => seen.length === 1,
    );
    expect(events[0]).toMatchObject({ type: "ADDED", object: { metadata: { name: "b" } } });
  });
});

test("a torn tail is dropped, damage before the tail is refused", async () => {
  await withApi(async (client) => {
    await client.call(secret("a"));
    await client.call(secret("b"));
  });
  const log = join(directory, "log");
  const sound = readFileSync(log);
  appendFileSync(log, '0badc0de [[99,"ADDED"');
  await withApi(async (client) => expect((await client.call({ path: `${secrets}/b` })).status).toBe(200));
  truncateSync(log, sound.length - 3);
  await withApi(async (client) => expect((await client.call({ path: `${secrets}/b` })).status).toBe(404));
  const damaged = Buffer.from(sound);
  damaged[40] = damaged[40]! ^ 1;
  writeFileSync(log, damaged);
  await expect(withApi(() => Promise.resolve())).rejects.toMatchObject({ code: "Altered" });
  expect(existsSync(join(directory, "lock"))).toBe(false);
});

test("a directory has one owner at a time", async () => {
  await withApi(async () => {
    await expect(startEmbeddedApi({ crds: [], directory })).rejects.toMatchObject({ code: "FileUnusable" });
  });
  writeFileSync(join(directory, "lock"), "999999999\n");
  await withApi(async (client) => expect((await client.call({ path: "/readyz" })).status).toBe(200));
});

test("the log is folded into a snapshot and nothing is lost by it", async () => {
  const value = "x".repeat(1_000_000);
  await withApi(async (client) => {
    for (let i = 0; i < 5; i++) await client.call(secret(`big${i}`, value));
  });
  expect(existsSync(join(directory, "snapshot"))).toBe(true);
  expect(statSync(join(directory, "snapshot")).mode & 0o777).toBe(0o600);
  await withApi(async (client) => {
    const { items } = (await client.call({ path: secrets })).body;
    const texts = items.map((item) => Buffer.from(item.data["value"]!, "base64").toString());
    expect(texts).toEqual(Array<string>(5).fill(value));
  });
});

async function startProcess(kubeconfig: string): Promise<{ child: ChildProcess; client: Client }> {
  const child = spawn(process.execPath, ["controller/embedded/serve.ts", kubeconfig, directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("exit", () => reject(new Error("it ended before it served")));
  });
  const config = JSON.parse(readFileSync(kubeconfig, "utf8")) as Kubeconfig;
  const { cluster } = config.clusters[0]!;
  const caPem = Buffer.from(cluster["certificate-authority-data"], "base64").toString();
  return { child, client: new Client({ url: cluster.server, caPem, token: config.users[0]!.user.token }) };
}

test("kill -9 at any moment loses no acknowledged write", async () => {
  const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
  console.log(`seed ${seed}`);
  let state = seed;
  const random = (): number => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
  const acknowledged = new Map<string, string>();
  let newest = 0;
  for (let round = 0; round < 3; round++) {
    const { child, client } = await startProcess(join(root, "kubeconfig"));
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const list = await client.call({ path: secrets });
    const found = new Map(list.body.items.map((item) => [item.metadata.name, item.data["value"]]));
    for (const [name, value] of acknowledged)
      expect(found.get(name), `${name} in round ${round}`).toBe(value);
    expect(Number(list.body.metadata.resourceVersion)).toBeGreaterThanOrEqual(newest);
    let left = 1 + Math.floor(random() * 40);
    const write = async (worker: number): Promise<void> => {
      for (let i = 0; ; i++) {
        const name = `s-${round}-${worker}-${i}`;
        const reply = await client.call(secret(name, String(random())));
        acknowledged.set(name, reply.body.data["value"]!);
        newest = Math.max(newest, Number(reply.body.metadata.resourceVersion));
        if (--left === 0) setTimeout(() => child.kill("SIGKILL"), random() * 5);
      }
    };
    await Promise.allSettled([write(0), write(1), write(2), write(3)]);
    await ended;
    client.close();
  }
  expect(acknowledged.size).toBeGreaterThan(2);
}, 60_000);
