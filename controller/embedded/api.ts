import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createIdentity, type Identity } from "./certificate.ts";
import { serveDefinition } from "./definitions.ts";
import { Discovery } from "./discovery.ts";
import { kubeconfig, writePrivateFile } from "./kubeconfig.ts";
import { Lifecycle } from "./lifecycle.ts";
import { equal, nameOf, objectAt, type JsonObject } from "./objects.ts";
import { OpenApi } from "./openapi.ts";
import { Registry } from "./resources.ts";
import { ResourceRequests } from "./requests.ts";
import { Router } from "./server.ts";
import { ProxyTargets } from "./service-proxy.ts";
import { Store } from "./store.ts";
import { openDirectory, type OpenDirectory } from "./persistence.ts";
import { Tokens } from "./tokens.ts";
import { Watches } from "./watch.ts";
import { Writer } from "./writes.ts";

/** How the embedded API is started. */
export interface EmbeddedOptions {
  /** Kept there and found again; in memory if absent. */
  directory?: string | undefined;
  /** On 127.0.0.1; a free one if absent. */
  port?: number | undefined;
  /** Where to write a kubeconfig; `DIRECTORY/kubeconfig` if a directory is given. */
  kubeconfig?: string | undefined;
  /** CustomResourceDefinition objects that are there from the start. */
  crds: readonly Readonly<Record<string, unknown>>[];
  /** Changes kept per resource for watches; an older resourceVersion gets 410. Default 10,000. */
  historyLimit?: number | undefined;
  now?: (() => Date) | undefined;
  /** Told of defects of the API itself; clients only see a 500. */
  onFailure?: ((failure: unknown) => void) | undefined;
}

/** A running embedded API. */
export interface EmbeddedApi {
  /** `https://127.0.0.1:PORT` */
  url: string;
  caPem: string;
  token: string;
  kubeconfigPath: string | undefined;
  /** Lets the service proxy reach a plain HTTP server on loopback; makes the Service if there is none. */
  setProxyTarget(namespace: string, name: string, url: string): void;
  /** Ends watches, closes connections and the directory. */
  stop(): Promise<void>;
}

const manager = "sealwright-embedded";
const firstNamespaces = ["default", "kube-public", "kube-system"];

function prepare(writer: Writer, registry: Registry, crds: readonly JsonObject[]): void {
  const options = { manager, dryRun: false, fieldValidation: "Ignore" as const, warnings: [] };
  const ensure = (apiVersion: string, plural: string, object: JsonObject): void => {
    const resource = registry.find(apiVersion, plural);
    if (resource === undefined) return;
    const target = { resource, namespace: undefined, name: nameOf(object) };
    const existing = writer.find(target);
    if (existing === undefined) writer.create(target, object, options);
    else if (plural !== "namespaces" && !equal(objectAt(existing, "spec"), objectAt(object, "spec"))) {
      writer.patch(target, (before) => ({ ...before, spec: objectAt(object, "spec") ?? {} }), options);
    }
  };
  for (const name of firstNamespaces) {
    ensure("v1", "namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  }
  for (const crd of crds) ensure("apiextensions.k8s.io/v1", "customresourcedefinitions", crd);
}

async function listen(server: Server, port: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function secureServer(
  identity: Identity,
  listener: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const server = createServer(
    {
      cert: identity.certificatePem,
      key: identity.keyPem,
      minVersion: "TLSv1.2",
      headersTimeout: 15_000,
      requestTimeout: 60_000,
      keepAliveTimeout: 90_000,
      noDelay: true,
    },
    listener,
  );
  server.on("tlsClientError", (_, socket) => socket.destroy());
  return server;
}

/**
 * Starts a Kubernetes API on loopback, for one machine: no etcd, no cluster. Everything is in memory; with a directory
 * every acknowledged write survives the end of the process. @throws FileUnusable, Altered
 */
export async function startEmbeddedApi(options: EmbeddedOptions): Promise<EmbeddedApi> {
  const now = options.now ?? (() => new Date());
  const store = new Store(options.historyLimit ?? 10_000);
  const directory = options.directory === undefined ? undefined : openDirectory(options.directory, store);
  try {
    return await serve({ options, store, directory, now });
  } catch (failure) {
    await directory?.close();
    throw failure;
  }
}

interface Setup {
  options: EmbeddedOptions;
  store: Store;
  directory: OpenDirectory | undefined;
  now: () => Date;
}

async function serve({ options, store, directory, now }: Setup): Promise<EmbeddedApi> {
  const identity = directory?.identity() ?? (await createIdentity(now()));
  directory?.keepIdentity(identity);
  const registry = new Registry();
  for (const definition of store.list("apiextensions.k8s.io/customresourcedefinitions")) {
    serveDefinition(registry, definition);
  }
  const writer = new Writer({ store, registry, now });
  const lifecycle = new Lifecycle({ store, registry, writer });
  prepare(writer, registry, JSON.parse(JSON.stringify(options.crds)) as JsonObject[]);
  const tokens = new Tokens(now);
  tokens.add(identity.token);
  const watches = new Watches(store);
  const proxyTargets = new ProxyTargets();
  const resources = new ResourceRequests({ store, registry, writer, watches, tokens, proxyTargets, now });
  const router = new Router({
    resources,
    discovery: new Discovery(registry),
    openApi: new OpenApi(registry),
    tokens,
    store,
    onFailure: options.onFailure ?? (() => undefined),
  });
  const server = secureServer(identity, (request, response) => void router.serve(request, response));
  await store.settled();
  const url = await listen(server, options.port ?? 0);
  const kubeconfigPath =
    options.kubeconfig ??
    (options.directory === undefined ? undefined : join(options.directory, "kubeconfig"));
  if (kubeconfigPath !== undefined) writePrivateFile(kubeconfigPath, kubeconfig({ url, ...identity }));
  return {
    url,
    caPem: identity.caPem,
    token: identity.token,
    kubeconfigPath,
    setProxyTarget(namespace, name, target) {
      proxyTargets.set(namespace, name, target);
      ensureService({ writer, registry }, { namespace, name, port: Number(new URL(target).port) || 80 });
    },
    async stop() {
      lifecycle.stop();
      watches.stop();
      await new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      });
      await directory?.close();
    },
  };
}

function ensureService(
  { writer, registry }: { writer: Writer; registry: Registry },
  { namespace, name, port }: { namespace: string; name: string; port: number },
): void {
  const resource = registry.find("v1", "services");
  if (resource === undefined) return;
  const target = { resource, namespace, name };
  if (writer.find(target) !== undefined) return;
  const body = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    spec: { ports: [{ name: "http", port }] },
  };
  writer.create(target, body, { manager, dryRun: false, fieldValidation: "Ignore", warnings: [] });
}
