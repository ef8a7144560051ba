import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ControlPlane, freePorts, type ApiAccess, type Part } from "./control-plane.ts";
import { eventually, guard, run } from "./process.ts";
import { exposeService, type ExposedService } from "./service.ts";
import { tool } from "./tools.ts";

export type { ApiAccess, Part };

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
  const plane = new ControlPlane(directory, await freePorts());
  const stop = async (): Promise<void> => {
    await plane.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    return { ...(await assemble(plane, options)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function assemble(plane: ControlPlane, options: ClusterOptions): Promise<Omit<Cluster, "stop">> {
  const { directory, access } = plane;
  await plane.startNetwork();
  const etcd = await plane.startEtcd(options.fsync ?? false);
  const apiserver = await plane.startApiserver(options.apiserverFlags ?? []);
  const kubeconfig = writeKubeconfig(join(directory, "kubeconfig"), access);
  const kubectl = kubectlWith(await tool("kubectl"), kubeconfig, directory);
  await eventually("namespaces default and kube-system", async () => {
    const names = await kubectl(["get", "namespaces", "-o", "name"]);
    return ["default", "kube-system"].every((name) => names.includes(`namespace/${name}\n`)) || undefined;
  });
  // Before the manager starts: the garbage collector looks for new types only every 30 s.
  if (options.sealedSecretType === true) await applySealedSecretType({ kubectl });
  if (options.controllerManager === true) await plane.startManager(kubeconfig);

  const serviceAccountToken = async (namespace: string, name: string): Promise<string> => {
    await kubectl(["apply", "--server-side", "-f", "-"], serviceAccountManifest(namespace, name));
    return (await kubectl(["create", "token", name, "-n", namespace, "--duration=24h"])).trim();
  };
  const kubeconfigFor = async (namespace: string, serviceAccount: string): Promise<string> => {
    const token = await serviceAccountToken(namespace, serviceAccount);
    const file = join(directory, `kubeconfig-${namespace}-${serviceAccount}`);
    return writeKubeconfig(file, { ...access, token }, namespace);
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
    kubeconfigFor,
    exposeService: (service) => exposeService(kubectl, service),
  };
}

const crdFile = new URL("../../controller/deploy/crd/sealedsecrets.yaml", import.meta.url);

/** Creates the SealedSecret type in the cluster and waits until it is served. */
export async function applySealedSecretType({ kubectl }: Pick<Cluster, "kubectl">): Promise<void> {
  await kubectl(["apply", "--server-side", "-f", "-"], readFileSync(crdFile, "utf8"));
  await kubectl(["wait", "--for=condition=Established", "--timeout=30s", "crd/sealedsecrets.bitnami.com"]);
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
