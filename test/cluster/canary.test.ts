import { randomBytes } from "node:crypto";
import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { events, secrets, type KubeObject } from "../../controller/kube.ts";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { toJson } from "../../formats/manifest.ts";
import { startCluster, type Cluster } from "../testbed/cluster.ts";
import { startFaultProxy, type FaultProxy } from "../testbed/fault-proxy.ts";
import { eventually, freePort } from "../testbed/process.ts";
import { startSubject, type Subject } from "./subject.ts";

/** A planted value goes down every path on which the controller fails; then everything it wrote is searched. */

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster({ sealedSecretType: true });
});
afterAll(() => cluster.stop());

/** The value, with capitals, digits and signs as passwords have them. */
function newCanary(): string {
  return `Canary-${randomBytes(12).toString("hex")}`;
}

/** Every form in which the value may stand in a text; of base64, the part that what stands around it does not change. */
function formsOf(canary: string): string[] {
  const inBase64 = [0, 1, 2].map((offset) => {
    const text = Buffer.from("x".repeat(offset) + canary).toString("base64");
    return text.slice(offset === 0 ? 0 : 4, -4);
  });
  return [canary, canary.toLowerCase(), Buffer.from(canary).toString("hex"), ...inBase64];
}

/** @returns the lines that hold the value in some form, whichever writer escaped them */
function linesWith(canary: string, text: string): string[] {
  const forms = formsOf(canary);
  return text.split("\n").filter((line) => forms.some((form) => line.includes(form)));
}

interface Scene {
  subject: Subject;
  proxy: FaultProxy;
  metricsPort: number;
  canary: string;
}

type Failure = (scene: Scene) => Promise<void>;

const managed = { "sealedsecrets.bitnami.com/managed": "true" };

/** Seals the value, changed in some way, and waits for the condition with this reason. */
function condition(reason: string, change: (scene: Scene) => object | Promise<object>): Failure {
  return async (scene) => {
    const { subject, canary } = scene;
    const name = subject.newName();
    await subject.seal({ name, entries: { secret: canary }, ...(await change(scene)) });
    await subject.failed(name, reason);
  };
}

function blob(reason: string, textOf: (canary: string) => unknown): Failure {
  return async ({ subject, canary }) => {
    const name = subject.newName();
    await subject.sealBlob(name, textOf(canary) as object);
    await subject.failed(name, reason);
  };
}

const opening: Record<string, Failure> = {
  "a wrong key": condition("CannotUnseal", async ({ subject }) => ({
    certificate: await subject.foreignCertificate(),
  })),
  "another name": condition("CannotUnseal", () => ({ sealedFor: { name: "other" } })),
  "the wrong scope": condition("CannotUnseal", () => ({ scope: "cluster-wide", annotatedScope: "strict" })),
  "an altered ciphertext": (scene) => tampered(scene, "Altered", (item) => flipped(item)),
  "a cut ciphertext": (scene) => tampered(scene, "CannotUnseal", (item) => item.slice(0, 40)),
  "an item that is not base64": (scene) => tampered(scene, "InvalidSealedSecret", (item) => `?${item}`),
  "a template that fails on the value (T03, T66)": condition("TemplateUnsupported", () => ({
    templateData: { a: "{{ fail .secret }}", b: "{{ toDate .secret }}", c: '{{ env "PATH" }}' },
  })),
  "T71: entries under names of the prototype, one of them refused": condition("Rejected", ({ canary }) => ({
    entries: { constructor: canary, toString: canary, "__proto__/x": canary },
  })),
};

const blobs: Record<string, Failure> = {
  "an old blob with two forms at once": async ({ subject, canary }) => {
    const name = subject.newName();
    await subject.seal({ name, entries: { secret: canary } });
    const { spec, ...object } = await subject.sealedSecret(name);
    await subject.kube.update(sealedSecrets, { ...object, spec: { ...(spec as object), data: "AAAA" } });
    await subject.failed(name, "InvalidSealedSecret");
  },
  "an old blob of another kind": blob("InvalidSealedSecret", (canary) => ({
    kind: canary,
    apiVersion: "v1",
  })),
  "an old blob of another version": blob("InvalidSealedSecret", (canary) => ({
    kind: "Secret",
    apiVersion: canary,
  })),
  "an old blob whose value is not base64": blob("InvalidSealedSecret", (canary) => ({
    kind: "Secret",
    data: { a: `${canary}!` },
  })),
  "an old blob whose entry name is refused": blob("InvalidSealedSecret", (canary) => ({
    kind: "Secret",
    stringData: { [`${canary}/x`]: canary },
  })),
  "an old blob whose fields have wrong types": blob("InvalidSealedSecret", (canary) => ({
    kind: "Secret",
    metadata: { labels: { [canary]: [canary] } },
    data: [canary],
  })),
  "an old blob that is a list of it": blob("InvalidSealedSecret", (canary) => ({
    kind: `${canary}List`,
    items: [canary],
  })),
  "an old blob that is no JSON": blob("InvalidSealedSecret", (canary) => ({
    toJSON: () => canary,
  })),
};

async function tampered(
  { subject, canary }: Scene,
  reason: string,
  change: (item: string) => string,
): Promise<void> {
  const name = subject.newName();
  await subject.seal({ name, entries: { secret: canary } });
  await subject.synced(name);
  const object = await subject.sealedSecret(name);
  const spec = object["spec"] as { encryptedData: Record<string, string> };
  const encryptedData = { secret: change(spec.encryptedData["secret"]!) };
  await subject.kube.update(sealedSecrets, { ...object, spec: { ...spec, encryptedData } });
  await subject.failed(name, reason);
}

function flipped(item: string): string {
  const bytes = Buffer.from(item, "base64");
  bytes[bytes.length - 1]! ^= 1;
  return bytes.toString("base64");
}

const targets: Record<string, Failure> = {
  "a target that somebody else made": async (scene) => {
    const { subject, canary } = scene;
    const name = subject.newName();
    await subject.createSecret(name, { own: canary });
    await subject.seal({ name, entries: { secret: canary } });
    await subject.failed(name, "NotManaged");
  },
  "an immutable target": async ({ subject, canary }) => {
    const name = subject.newName();
    await subject.seal({ name, entries: { secret: canary }, immutable: true });
    await subject.synced(name);
    await subject.seal({ name, entries: { secret: `${canary}2` }, immutable: true });
    await subject.failed(name, "ImmutableSecret");
  },
  "a target of another type": async ({ subject, canary }) => {
    const name = subject.newName();
    const more = { annotations: managed, type: "kubernetes.io/basic-auth" };
    await subject.createSecret(name, { username: canary, password: canary }, more);
    await subject.seal({ name, entries: { secret: canary }, type: "Opaque" });
    await subject.failed(name, "Rejected");
  },
  "a value that the API server quotes when it refuses it": condition("Rejected", ({ canary }) => ({
    entries: { ".dockerconfigjson": canary },
    type: "kubernetes.io/dockerconfigjson",
  })),
  "too large a value": condition("Rejected", ({ canary }) => ({ entries: { large: canary.repeat(33_900) } })),
  "an entry name that Kubernetes refuses": condition("Rejected", ({ canary }) => ({
    entries: { "not/a name": canary },
  })),
  "a Secret edited by hand": async ({ subject, canary }) => {
    const name = subject.newName();
    await subject.seal({ name, entries: { secret: "fine" } });
    const sealed = await subject.synced(name);
    const data = {
      secret: Buffer.from(canary).toString("base64"),
      more: Buffer.from(canary).toString("base64"),
    };
    await subject.editSecret(name, { data }, "kubectl-edit");
    await subject.event(sealed, "DriftHealed");
  },
};

/** The API server refuses for a while, and repeats in its message what it was sent. */
const refusals: Record<string, Failure> = Object.fromEntries(
  ([403, 409, 500] as const).flatMap((status) =>
    (["create", "update"] as const).map((verb) => [
      `${status} to ${verb} a Secret, repeating it`,
      async ({ subject, proxy, canary }: Scene) => {
        const name = subject.newName();
        await subject.seal({ name, entries: { secret: verb === "create" ? canary : "before" } });
        const fault = { kind: "answer", status, repeats: true } as const;
        if (verb === "update") await subject.synced(name);
        const rule = proxy.add({ verb, path: /\/namespaces\/default\/secrets/, fault });
        const subjectOfUpdate = verb === "update" ? name : subject.newName();
        await subject.seal({ name: subjectOfUpdate, entries: { secret: canary } });
        await eventually(`a refused ${verb}`, () => rule.hits >= 2 || undefined);
        rule.remove();
        await subject.until(subjectOfUpdate, (secret) => subject.values(secret)["secret"] === canary);
      },
    ]),
  ),
);

const elsewhere: Record<string, Failure> = {
  "500 to write a status and an event, repeating them": async ({ subject, proxy, canary }) => {
    const fault = { kind: "answer", status: 500, repeats: true } as const;
    const rules = [/\/status/, /\/events/].map((path) => proxy.add({ path, fault, times: 2 }));
    const name = subject.newName();
    await subject.seal({ name, entries: { secret: canary } });
    await subject.synced(name);
    await eventually("the refusals", () => rules.every(({ hits }) => hits > 0) || undefined);
    proxy.clear();
  },
  "T11: key Secrets that hold the value instead of a key": async ({ subject, canary }) => {
    const block = Buffer.from(canary.repeat(8)).toString("base64");
    const good = await subject.newKey();
    const malformed = [
      { privateKeyPem: canary, certificatePem: canary },
      { privateKeyPem: good.privateKeyPem, certificatePem: pem("CERTIFICATE", block) },
      { privateKeyPem: pem("RSA PRIVATE KEY", block), certificatePem: good.certificatePem },
      { privateKeyPem: pem("PRIVATE KEY", canary), certificatePem: good.certificatePem },
      { privateKeyPem: pem(canary, block), certificatePem: good.certificatePem },
    ];
    for (const key of malformed) {
      const { metadata } = await subject.addKey(key);
      await eventually(
        `a line about ${metadata.name}`,
        () => subject.logs().includes(`key Secret ${metadata.name} is malformed`) || undefined,
      );
    }
  },
  "a new sealing key that is refused, repeating it": async ({ subject, proxy }) => {
    const fault = { kind: "answer", status: 403, repeats: true } as const;
    const rule = proxy.add({ verb: "create", path: /\/namespaces\/kube-system\/secrets/, fault });
    process.kill(subject.controller.pid, "SIGUSR1");
    await eventually("a refused key", () => rule.hits > 0 || undefined);
    await eventually("a line about it", () => subject.logs().includes("no new sealing key") || undefined);
    rule.remove();
  },
};

function pem(label: string, body: string): string {
  return `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
}

/** Everything in one text that the HTTP endpoints answered, heads included. */
async function endpointAnswers({ subject, metricsPort, canary }: Scene): Promise<string> {
  const sealed = await subject.sealedSecret((await sealedNames(subject))[0]!);
  const bodies = [
    canary,
    `{"kind":"${canary}`,
    `{"kind":"${canary}","apiVersion":"v1"}`,
    `{"${canary}":1,"${canary}":2}`,
    `kind: SealedSecret\n${canary}: [`,
    `a: &${canary} b\nc: *${canary}\nd: *no${canary}`,
    toJson({ apiVersion: "v1", kind: "Secret", stringData: { a: canary } }),
    toJson({ ...sealed, spec: { encryptedData: { [canary]: canary }, data: canary } }),
    toJson({ ...sealed, spec: canary }),
    toJson({ ...sealed, metadata: { labels: [canary], annotations: { a: { b: canary } } } }),
    `\ud800${canary}\u0000`,
    canary.repeat(50_000),
  ];
  const answers: string[] = [];
  const port = Number(new URL(subject.url).port);
  for (const path of ["/v1/verify", "/v1/rotate"])
    for (const body of bodies) answers.push(await answerTo(port, { method: "POST", path, body }));
  for (const path of [
    `/${canary}`,
    `/v1/cert.pem?${canary}`,
    `/v1/verify?x=${canary}`,
    "/healthz",
    "/readyz",
  ])
    answers.push(await answerTo(port, { method: "GET", path, headers: { "X-Token": canary } }));
  answers.push(
    await answerTo(port, { method: "GET", path: "/healthz", headers: { "X-Large": canary.repeat(1000) } }),
  );
  answers.push(await answerTo(metricsPort, { method: "GET", path: `/metrics?${canary}` }));
  return answers.join("\n");
}

async function answerTo(
  port: number,
  {
    body = "",
    ...options
  }: { method: string; path: string; headers?: Record<string, string>; body?: string },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request({ host: "127.0.0.1", port, ...options }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        resolve(
          `${response.statusCode ?? 0} ${response.rawHeaders.join(" ")}\n${Buffer.concat(chunks).toString()}`,
        ),
      );
    });
    call.on("error", reject).end(body);
  });
}

async function sealedNames(subject: Subject): Promise<string[]> {
  const { items } = await subject.kube.list(sealedSecrets, { namespace: subject.namespace });
  return items.map(({ metadata }) => metadata.name);
}

/** All that the controller wrote where others than the Secret's readers may read. */
async function written(scene: Scene): Promise<Record<string, string>> {
  const { subject, metricsPort } = scene;
  const every = async (resource: typeof events): Promise<KubeObject[]> =>
    (await subject.kube.list(resource)).items;
  const lines = (objects: readonly unknown[]): string => objects.map((one) => JSON.stringify(one)).join("\n");
  return {
    answers: await endpointAnswers(scene),
    log: subject.logs(),
    events: lines(await every(events)),
    statuses: lines((await every(sealedSecrets)).map((object) => object["status"])),
    metrics: await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text(),
  };
}

describe.each(["text", "json"])("T70: with the log in %s at its most talkative", (format) => {
  let scene: Scene;
  beforeAll(async () => {
    const proxy = await startFaultProxy(cluster);
    const metricsPort = await freePort();
    const flags = [
      ...["--log-level=DEBUG", `--log-format=${format}`, "--key-renew-period=0"],
      ...["--rate-limit=1000", "--rate-limit-burst=1000", `--listen-metrics-addr=127.0.0.1:${metricsPort}`],
    ];
    const subject = await startSubject({ kubeconfig: proxy.kubeconfig, flags, stop: () => proxy.stop() });
    scene = { subject, proxy, metricsPort, canary: newCanary() };
  });
  afterAll(async () => {
    await scene.subject.stop();
    // The next log starts with an empty cluster.
    await cluster.kubectl(["delete", "sealedsecrets,secrets,events", "--all", "-n", "default"]);
    await cluster.kubectl(["delete", "secrets,events", "--all", "-n", "kube-system"]);
  });

  test("the detector finds the value where it is meant to be", async () => {
    const { subject, canary } = scene;
    const name = subject.newName();
    await subject.seal({ name, entries: { secret: canary } });
    await subject.synced(name);
    const found = await subject.kube.get(secrets, { name, namespace: subject.namespace });
    expect(linesWith(canary, JSON.stringify(found))).toHaveLength(1);
    expect(linesWith(canary, JSON.stringify(subject.values(found!)))).toHaveLength(1);
    for (const before of ["", "a", "ab", "abc"]) {
      const text = Buffer.from(`${before}${canary}${before}`).toString("base64");
      expect(linesWith(canary, `a line\n${text}\nanother`)).toEqual([text]);
    }
  });

  const paths = { ...opening, ...blobs, ...targets, ...refusals, ...elsewhere };
  test.each(Object.entries(paths))("fails as it should: %s", (_, fail) => fail(scene));

  test("nowhere in log, events, statuses, metrics and answers does the value appear", async () => {
    for (const [where, text] of Object.entries(await written(scene))) {
      expect(text.length, where).toBeGreaterThan(100);
      expect(linesWith(scene.canary, text), where).toEqual([]);
      expect(text, where).not.toMatch(/PRIVATE KEY-----[^]+PRIVATE KEY-----|LS0tLS1CRUdJTiBSU0EgUFJJVkFURS/);
    }
  });
});
