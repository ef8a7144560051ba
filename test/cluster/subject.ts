import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  loadKube,
  secrets,
  events,
  type Kube,
  type KubeObject,
  type ObjectMeta,
} from "../../controller/kube.ts";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { keyLabel } from "../../controller/sealing-keys.ts";
import type { Condition } from "../../controller/status.ts";
import { encodeBase64 } from "../../formats/base64.ts";
import { issueKey, type IssuedKey } from "../../formats/issue-key.ts";
import { withScope, type Scope } from "../../formats/scope.ts";
import { seal, sealItem } from "../../formats/seal.ts";
import { sealedSecretManifest } from "../../formats/sealed-secret.ts";
import { parseCertificate, type SealingCertificate } from "../../formats/sealing-certificate.ts";
import type { Metadata } from "../../formats/secret.ts";
import { eventually, freePort, launch, run, type Running } from "../testbed/process.ts";
import { tool } from "../testbed/tools.ts";

/** Where a controller under test runs. */
export interface SubjectSetup {
  /** The API server's kubeconfig; `undefined`: the controller brings its embedded API. */
  kubeconfig: string | undefined;
  /** How the controller reaches that server, where not in the way of the test. */
  controllerKubeconfig?: string;
  /** The controller has something to wait for, so that nobody waits for it. */
  unready?: true;
  /** Further flags of the controller. */
  flags?: readonly string[];
  /** Ends what the setup started. */
  stop: () => Promise<void>;
}

/** A key pair that the test made. */
export interface TestKey extends IssuedKey {
  certificate: SealingCertificate;
}

interface SealRequest {
  name: string;
  entries: Record<string, string | Uint8Array>;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  type?: string;
  immutable?: boolean;
  scope?: Scope;
  /** What the object says of its scope, where that differs. */
  annotatedScope?: Scope;
  /** The place it is sealed for, where that differs from where it is put. */
  sealedFor?: { name?: string; namespace?: string };
  certificate?: SealingCertificate;
  templateData?: Record<string, string>;
}

const keyNamespace = "kube-system";

/** Starts the controller as a process of its own, in front of an API server. */
export async function startSubject(setup: SubjectSetup): Promise<Subject> {
  const directory = mkdtempSync(join(tmpdir(), "sealwright-subject-"));
  const [httpPort, metricsPort] = [await freePort(), await freePort()];
  const kubeconfig = setup.kubeconfig ?? join(directory, "api", "kubeconfig");
  const controller = launch({
    program: process.execPath,
    args: [
      "controller/main.ts",
      ...(setup.kubeconfig === undefined
        ? [`--embedded=${join(directory, "api")}`]
        : [`--kubeconfig=${setup.controllerKubeconfig ?? kubeconfig}`]),
      `--listen-addr=127.0.0.1:${httpPort}`,
      `--listen-metrics-addr=127.0.0.1:${metricsPort}`,
      "--key-size=2048",
      ...(setup.flags ?? []),
    ],
    env: { POD_NAMESPACE: keyNamespace },
    logFile: join(directory, "controller.log"),
  });
  const url = `http://127.0.0.1:${httpPort}`;
  const ready = async (): Promise<true | undefined> => ((await readiness(url)) === 200 ? true : undefined);
  const what = `the controller to be ready; it said: ${controller.logs().slice(-2000)}`;
  if (setup.unready !== true) await eventually(what, ready, 60);
  const kube = await loadKube({ kubeconfig, env: {}, userAgent: "test/1" });
  return new Subject({
    setup,
    directory,
    controller,
    kube,
    url,
    metricsUrl: `http://127.0.0.1:${metricsPort}/metrics`,
    kubeconfig,
  });
}

/** What a controller's readiness probe answers; `undefined` where nothing answers. */
export async function readiness(url: string): Promise<number | undefined> {
  const answer = await fetch(`${url}/readyz`).catch(() => undefined);
  return answer?.status;
}

/** The controller under test, and what tests do around it. */
export class Subject {
  readonly url: string;
  readonly kubeconfig: string;
  readonly kube: Kube;
  readonly controller: Running;
  readonly namespace = "default";
  readonly #setup: SubjectSetup;
  readonly #directory: string;
  readonly #metricsUrl: string;
  #names = 0;
  #certificate: SealingCertificate | undefined;

  constructor(parts: {
    setup: SubjectSetup;
    directory: string;
    controller: Running;
    kube: Kube;
    url: string;
    metricsUrl: string;
    kubeconfig: string;
  }) {
    this.url = parts.url;
    this.kubeconfig = parts.kubeconfig;
    this.kube = parts.kube;
    this.controller = parts.controller;
    this.#setup = parts.setup;
    this.#directory = parts.directory;
    this.#metricsUrl = parts.metricsUrl;
  }

  async stop(): Promise<void> {
    await this.controller.stop();
    this.kube.close();
    await this.#setup.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  newName(): string {
    this.#names += 1;
    return `case-${this.#names}`;
  }

  logs(): string {
    return this.controller.logs();
  }

  /** The controller's newest certificate, over its HTTP server. */
  async certificate(): Promise<SealingCertificate> {
    this.#certificate ??= parseCertificate(await (await fetch(`${this.url}/v1/cert.pem`)).text());
    return this.#certificate;
  }

  async newKey(): Promise<TestKey> {
    const issued = await issueKey({
      bits: 2048,
      commonName: "",
      notBefore: new Date(Date.now() - 1000 * 3600 * 24 * 60),
      ttlSeconds: 86_400_000,
    });
    return { ...issued, certificate: parseCertificate(issued.certificatePem) };
  }

  async foreignCertificate(): Promise<SealingCertificate> {
    return (await this.newKey()).certificate;
  }

  addKey({ privateKeyPem, certificatePem }: IssuedKey): Promise<KubeObject> {
    const data = {
      "tls.key": encodeBase64(Buffer.from(privateKeyPem)),
      "tls.crt": encodeBase64(Buffer.from(certificatePem)),
    };
    const metadata = {
      name: `test-key-${++this.#names}`,
      namespace: keyNamespace,
      labels: { [keyLabel]: "active" },
    };
    return this.kube.create(secrets, {
      apiVersion: "v1",
      kind: "Secret",
      metadata,
      type: "kubernetes.io/tls",
      data,
    });
  }

  labelKey({ metadata }: KubeObject, value: string): Promise<KubeObject> {
    return this.kube.patch(secrets, metadata, { body: { metadata: { labels: { [keyLabel]: value } } } });
  }

  /** Seals and creates, or replaces what is there. */
  async seal(request: SealRequest): Promise<KubeObject> {
    const { name, scope = "strict", annotatedScope = scope } = request;
    const metadata: Metadata = { name, namespace: this.namespace };
    if (request.labels !== undefined) metadata.labels = request.labels;
    const scoped = (of: Scope): Record<string, string> => withScope(request.annotations, of);
    const bytes = Object.entries(request.entries).map(
      ([entry, value]) => [entry, Buffer.from(value)] as const,
    );
    const sealed = await seal(
      {
        metadata: { ...metadata, ...request.sealedFor, annotations: scoped(scope) },
        entries: new Map(bytes),
        ...(request.type === undefined ? {} : { type: request.type }),
        ...(request.immutable === undefined ? {} : { immutable: request.immutable }),
      },
      { certificate: request.certificate ?? (await this.certificate()) },
    );
    sealed.metadata = { ...metadata, annotations: withScope(undefined, annotatedScope) };
    sealed.template.metadata = { ...metadata, annotations: request.annotations ?? {} };
    if (request.templateData !== undefined) sealed.template.data = request.templateData;
    return this.#put(sealedSecretManifest(sealed) as KubeObject);
  }

  /** The deprecated form: one blob that holds the Secret as JSON. */
  async sealBlob(name: string, secret: object): Promise<KubeObject> {
    const target = { scope: "strict", namespace: this.namespace, name } as const;
    const data = sealItem(Buffer.from(JSON.stringify(secret)), target, await this.certificate());
    return this.#put({
      apiVersion: "bitnami.com/v1alpha1",
      kind: "SealedSecret",
      metadata: { name, namespace: this.namespace },
      spec: { data, encryptedData: {} },
    });
  }

  async #put(object: KubeObject): Promise<KubeObject> {
    const live = await this.kube.get(sealedSecrets, object.metadata);
    if (live === undefined) return this.kube.create(sealedSecrets, object);
    const { resourceVersion } = live.metadata;
    return this.kube.update(sealedSecrets, {
      ...live,
      ...object,
      metadata: { ...object.metadata, resourceVersion },
    });
  }

  findSecret(name: string): Promise<KubeObject | undefined> {
    return this.kube.get(secrets, { name, namespace: this.namespace });
  }

  secret(name: string): Promise<KubeObject> {
    return eventually(`Secret ${name}`, () => this.findSecret(name));
  }

  until(name: string, holds: (secret: KubeObject) => boolean): Promise<KubeObject> {
    return eventually(`Secret ${name} as wanted`, async () => {
      const secret = await this.findSecret(name);
      return secret !== undefined && holds(secret) ? secret : undefined;
    });
  }

  async untilGone(name: string): Promise<void> {
    await eventually(`Secret ${name} to be gone`, async () =>
      (await this.findSecret(name)) === undefined ? true : undefined,
    );
  }

  /** The entries as text. */
  values(secret: KubeObject): Record<string, string> {
    const data = (secret["data"] ?? {}) as Record<string, string>;
    return Object.fromEntries(
      Object.entries(data).map(([name, value]) => [name, Buffer.from(value, "base64").toString()]),
    );
  }

  createSecret(
    name: string,
    entries: Record<string, string>,
    more: Partial<ObjectMeta> & { type?: string } = {},
  ): Promise<KubeObject> {
    const { type = "Opaque", ...metadata } = more;
    const data = Object.fromEntries(
      Object.entries(entries).map(([entry, value]) => [entry, encodeBase64(Buffer.from(value))]),
    );
    return this.kube.create(secrets, {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { ...metadata, name, namespace: this.namespace },
      type,
      data,
    });
  }

  async deleteSecret(name: string): Promise<void> {
    await this.kube.delete(secrets, { name, namespace: this.namespace });
  }

  async deleteSealedSecret(name: string): Promise<void> {
    await this.kube.delete(sealedSecrets, { name, namespace: this.namespace });
  }

  /** A merge patch under another program's name, by the real kubectl. */
  async editSecret(name: string, patch: object, manager: string): Promise<void> {
    await this.kubectl(
      "patch",
      "secret",
      name,
      "--type=merge",
      `--patch=${JSON.stringify(patch)}`,
      `--field-manager=${manager}`,
    );
  }

  /** The real kubectl, in the test's namespace. @returns its stdout */
  async kubectl(...args: string[]): Promise<string> {
    const done = await run(await tool("kubectl"), [
      "--kubeconfig",
      this.kubeconfig,
      "--namespace",
      this.namespace,
      ...args,
    ]);
    if (done.code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${done.stderr}`);
    return done.stdout;
  }

  async annotate(
    plural: "secrets" | "sealedsecrets",
    name: string,
    annotations: Record<string, string>,
  ): Promise<void> {
    const resource = plural === "secrets" ? secrets : sealedSecrets;
    await this.kube.patch(
      resource,
      { name, namespace: this.namespace },
      { body: { metadata: { annotations } } },
    );
  }

  async sealedSecret(name: string): Promise<KubeObject> {
    const found = await this.kube.get(sealedSecrets, { name, namespace: this.namespace });
    if (found === undefined) throw new Error(`no SealedSecret ${name}`);
    return found;
  }

  conditions(object: KubeObject): Condition[] {
    return (object["status"] as { conditions?: Condition[] } | undefined)?.conditions ?? [];
  }

  /** The SealedSecret, once its status says that its present generation is unsealed. */
  synced(name: string): Promise<KubeObject> {
    return this.#withStatus(name, "synced", (first) => first?.status === "True");
  }

  /** The SealedSecret, once its status says that its present generation failed for this reason. */
  failed(name: string, reason: string): Promise<KubeObject> {
    return this.#withStatus(
      name,
      `failed: ${reason}`,
      (first) => first?.status === "False" && first.reason === reason,
    );
  }

  #withStatus(
    name: string,
    what: string,
    holds: (first: Condition | undefined) => boolean,
  ): Promise<KubeObject> {
    return eventually(`SealedSecret ${name} ${what}`, async () => {
      const object = await this.sealedSecret(name);
      const status = object["status"] as { observedGeneration?: number } | undefined;
      return status?.observedGeneration === object.metadata.generation && holds(this.conditions(object)[0])
        ? object
        : undefined;
    });
  }

  event({ metadata }: KubeObject, reason: string): Promise<KubeObject> {
    return eventually(`event ${reason} of ${metadata.name}`, async () => {
      const namespace = metadata.namespace ?? this.namespace;
      const list = await this.kube.list(events, {
        namespace,
        fieldSelector: `involvedObject.name=${metadata.name}`,
      });
      return list.items.find((event) => event["reason"] === reason);
    });
  }

  /** A figure from `/metrics`; 0 where it is not there. */
  async metric(pattern: RegExp): Promise<number> {
    const text = await (await fetch(this.#metricsUrl)).text();
    return Number(pattern.exec(text)?.[1] ?? 0);
  }

  /** How many passes over one object begin within a time. */
  async countPasses(name: string, ms: number): Promise<number> {
    const count = (): number => this.logs().split(`Updating key=${this.namespace}/${name}`).length;
    const before = count();
    await new Promise((resolve) => setTimeout(resolve, ms));
    return count() - before;
  }

  /** Returns when the controller has certainly seen an object's present state: a later one's Secret is there. */
  async passesBeyond(_object: KubeObject): Promise<void> {
    const name = this.newName();
    await this.seal({ name, entries: { a: "b" } });
    await this.synced(name);
  }
}
