import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exposeService, type ExposedService } from "./service.ts";
import { startServiceNetwork } from "./service-network.ts";
import { eventually, freePort, guard, launch, run, type Running } from "./process.ts";
import { tool } from "./tools.ts";

/** What a cluster may have besides the default. */
export interface ClusterOptions {
  /** Serves the SealedSecret type from the start; off by default. */
  sealedSecretType?: boolean;
  /** Runs kube-controller-manager's garbage collector and namespace controller; off by default. */
  controllerManager?: boolean;
  /** Lets etcd sync every write to disk, for claims about durability; off by default. */
  fsync?: boolean;
  /** Added to kube-apiserver's command line, such as `--etcd-compaction-interval=5s`. */
  apiserverFlags?: readonly string[];
}

/** How a program reaches an API server. */
export interface ApiAccess {
  /** `https://host:port`. */
  readonly url: string;
  /** PEM file with the certificate that signed the server's. */
  readonly caFile: string;
  /** Bearer token. */
  readonly token: string;
}

/** A server of the cluster that a test may take away and bring back. */
export interface Part {
  /** Ends it, by default at once (SIGKILL); returns when it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port and data; returns when it answers. */
  start(): Promise<void>;
  /** Keeps its sockets open and silent (SIGSTOP). */
  freeze(): void;
  /** Ends a freeze. */
  thaw(): void;
  /** What it wrote to stdout and stderr, over all starts. */
  logs(): string;
}

/** A real kube-apiserver with etcd, on loopback, with RBAC and without a kubelet. The access is cluster-admin's. */
export interface Cluster extends ApiAccess {
  readonly kubeconfig: string;
  /** PEM files with which the API server proves itself; a proxy in front of it may do the same. */
  readonly serverCertificate: { readonly certFile: string; readonly keyFile: string };
  /** A directory for the test's files; deleted with the cluster. */
  readonly directory: string;
  readonly apiserver: Part;
  readonly etcd: Part;
  /** Runs kubectl as cluster-admin. @returns its stdout. @throws with its stderr if it fails. */
  kubectl(args: readonly string[], stdin?: string): Promise<string>;
  /** A token of the service account, which is created if absent; good for 24 h. */
  serviceAccountToken(namespace: string, name: string): Promise<string>;
  /** A kubeconfig file that acts as the service account in its namespace. */
  kubeconfigFor(namespace: string, serviceAccount: string): Promise<string>;
  /** Makes a server on 127.0.0.1 reachable through the API server's service proxy. */
  exposeService(service: ExposedService): Promise<void>;
  /** Ends everything and deletes the directory. */
  stop(): Promise<void>;
}

/** Starts a cluster; it is ready, with its bootstrap roles and namespaces, when this returns. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const directory = mkdtempSync(join(tmpdir(), "sealwright-cluster-"));
  guard.deleteAtEnd(directory);
  const [etcdPort, peerPort, apiPort] = [await freePort(), await freePort(), await freePort()];
  const admin = { url: `https://127.0.0.1:${apiPort}`, token: randomBytes(16).toString("hex") };
  const access: ApiAccess = { ...admin, caFile: join(directory, "apiserver.crt") };
  const network = await startServiceNetwork(join(directory, "network.sock"));
  writeApiServerFiles(directory, access.token);

  const etcd = await startPart(directory, {
    name: "etcd",
    args: etcdArgs(directory, { etcdPort, peerPort, fsync: options.fsync ?? false }),
    isReady: () => answers({ url: `http://127.0.0.1:${etcdPort}/health` }),
  });
  const apiserver = await startPart(directory, {
    name: "kube-apiserver",
    args: [...apiserverArgs(directory, { etcdPort, apiPort }), ...(options.apiserverFlags ?? [])],
    isReady: () => answers({ ...access, url: `${access.url}/readyz` }),
  });
  const kubeconfig = writeKubeconfig(join(directory, "kubeconfig"), access);
  const kubectl = kubectlWith(await tool("kubectl"), kubeconfig, directory);
  await eventually("namespaces default and kube-system", async () => {
    const names = await kubectl(["get", "namespaces", "-o", "name"]);
    return ["default", "kube-system"].every((name) => names.includes(`namespace/${name}\n`)) || undefined;
  });
  // Before the manager starts: the garbage collector looks for new types only every 30 s.
  if (options.sealedSecretType === true) await applySealedSecretType({ kubectl });
  const manager = options.controllerManager === true ? await startManager(directory, kubeconfig) : undefined;

  const serviceAccountToken = async (namespace: string, name: string): Promise<string> => {
    await kubectl(["apply", "--server-side", "-f", "-"], serviceAccountManifest(namespace, name));
    return (await kubectl(["create", "token", name, "-n", namespace, "--duration=24h"])).trim();
  };
  return {
    ...access,
    kubeconfig,
    serverCertificate: { certFile: access.caFile, keyFile: join(directory, "apiserver.key") },
    directory,
    apiserver,
    etcd,
    kubectl,
    serviceAccountToken,
    kubeconfigFor: async (namespace, serviceAccount) => {
      const token = await serviceAccountToken(namespace, serviceAccount);
      const file = join(directory, `kubeconfig-${namespace}-${serviceAccount}`);
      return writeKubeconfig(file, { ...access, token }, namespace);
    },
    exposeService: (service) => exposeService(kubectl, service),
    stop: async () => {
      await Promise.all([manager?.stop(), apiserver.stop(), etcd.stop()]);
      await network.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

const crdFile = new URL("../../controller/deploy/crd/sealedsecrets.yaml", import.meta.url);

/** Creates the SealedSecret type in the cluster and waits until it is served. */
export async function applySealedSecretType({ kubectl }: Pick<Cluster, "kubectl">): Promise<void> {
  await kubectl(["apply", "--server-side", "-f", "-"], readFileSync(crdFile, "utf8"));
  await kubectl(["wait", "--for=condition=Established", "--timeout=30s", "crd/sealedsecrets.bitnami.com"]);
}

interface PartPlan {
  name: "etcd" | "kube-apiserver" | "kube-controller-manager";
  args: readonly string[];
  isReady: () => Promise<boolean>;
}

async function startPart(directory: string, { name, args, isReady }: PartPlan): Promise<Part> {
  const program = await tool(name);
  const logFile = join(directory, `${name}.log`);
  let running: Running;
  const start = async (): Promise<void> => {
    const started = launch({ program, args, logFile });
    running = started;
    const ended = started.exited.then((how) => {
      throw new Error(`${name} ended (${how}) before it was ready:\n${started.logs().slice(-2000)}`);
    });
    await Promise.race([ended, eventually(name, async () => (await isReady()) || undefined, 60)]);
    ended.catch(() => undefined);
  };
  await start();
  return {
    start,
    stop: (signal = "SIGKILL") => running.stop(signal),
    freeze: () => running.freeze(),
    thaw: () => running.thaw(),
    logs: () => readFileSync(logFile, "utf8"),
  };
}

function startManager(directory: string, kubeconfig: string): Promise<Part> {
  return startPart(directory, {
    name: "kube-controller-manager",
    args: [
      `--kubeconfig=${kubeconfig}`,
      "--controllers=garbage-collector-controller,namespace-controller",
      "--leader-elect=false",
      "--secure-port=0",
    ],
    isReady: () => Promise.resolve(true),
  });
}

function etcdArgs(directory: string, how: { etcdPort: number; peerPort: number; fsync: boolean }): string[] {
  const [client, peer] = [`http://127.0.0.1:${how.etcdPort}`, `http://127.0.0.1:${how.peerPort}`];
  return [
    `--data-dir=${join(directory, "etcd")}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    ...(how.fsync ? [] : ["--unsafe-no-fsync"]),
  ];
}

function apiserverArgs(
  directory: string,
  { etcdPort, apiPort }: { etcdPort: number; apiPort: number },
): string[] {
  return [
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    "--bind-address=127.0.0.1",
    `--secure-port=${apiPort}`,
    // It makes its own certificate here; the file holds the one that signed it, too.
    `--cert-dir=${directory}`,
    // Must not be loopback; nothing is sent there (TEST-NET-1).
    "--advertise-address=192.0.2.1",
    "--endpoint-reconciler-type=none",
    "--service-cluster-ip-range=198.51.100.0/24",
    "--authorization-mode=RBAC",
    `--token-auth-file=${join(directory, "tokens.csv")}`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${join(directory, "service-account.key")}`,
    `--service-account-signing-key-file=${join(directory, "service-account.key")}`,
    `--egress-selector-config-file=${join(directory, "egress.yaml")}`,
    // Pods here are only names for addresses: no controller makes the service accounts that this plugin asks for.
    "--disable-admission-plugins=ServiceAccount",
  ];
}

function writeApiServerFiles(directory: string, token: string): void {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pem = privateKey.export({ type: "sec1", format: "pem" });
  writeFileSync(join(directory, "service-account.key"), pem, { mode: 0o600 });
  writeFileSync(join(directory, "tokens.csv"), `${token},admin,admin,system:masters\n`, { mode: 0o600 });
  const connection = {
    proxyProtocol: "HTTPConnect",
    transport: { uds: { udsName: join(directory, "network.sock") } },
  };
  const egress = {
    apiVersion: "apiserver.k8s.io/v1beta1",
    kind: "EgressSelectorConfiguration",
    egressSelections: [{ name: "cluster", connection }],
  };
  writeFileSync(join(directory, "egress.yaml"), JSON.stringify(egress));
}

/** Writes a kubeconfig that reaches `access`. @returns the file's path. */
export function writeKubeconfig(file: string, access: ApiAccess, namespace = "default"): string {
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "testbed", cluster: { server: access.url, "certificate-authority": access.caFile } }],
    users: [{ name: "testbed", user: { token: access.token } }],
    contexts: [{ name: "testbed", context: { cluster: "testbed", user: "testbed", namespace } }],
    "current-context": "testbed",
  };
  writeFileSync(file, JSON.stringify(config, undefined, 2), { mode: 0o600 });
  return file;
}

function serviceAccountManifest(namespace: string, name: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "List",
    items: [
      { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } },
    ],
  });
}

function kubectlWith(path: string, kubeconfig: string, home: string): Cluster["kubectl"] {
  return async (args, stdin) => {
    // Its discovery cache goes below HOME; one cluster's must not be read by another's clients.
    const env = { KUBECONFIG: kubeconfig, HOME: home };
    const { code, stdout, stderr } = await run(path, args, { stdin: stdin ?? "", env });
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")} exits with ${code}: ${stderr}`);
    return stdout;
  };
}

async function answers({ url, caFile, token }: Partial<ApiAccess> & { url: string }): Promise<boolean> {
  if (caFile === undefined)
    return fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
  let ca: Buffer;
  try {
    ca = readFileSync(caFile);
  } catch {
    return false;
  }
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${token ?? ""}` };
    const asked = request(url, { ca, headers, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asked.setTimeout(2000, () => asked.destroy());
    asked.once("error", () => resolve(false));
    asked.end();
  });
}
