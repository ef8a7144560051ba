import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { applySealedSecretType, type ApiAccess, type Cluster } from "./cluster.ts";
import { freePort, guard, launch, untilReady } from "./process.ts";
import { tool } from "./tools.ts";

export { applySealedSecretType };

/** What the controller gets besides its addresses. */
export interface UpstreamOptions {
  /** Added to its command line, such as `--kubeclient-qps=-1`. */
  flags?: readonly string[];
  env?: Readonly<Record<string, string>>;
  /** Where its keys and its Service are; kube-system by default. */
  namespace?: string;
}

/** A running upstream controller. */
export interface UpstreamController {
  /** On 127.0.0.1: `/healthz` and `/v1/...`. */
  readonly httpPort: number;
  /** On 127.0.0.1: `/metrics`. */
  readonly metricsPort: number;
  logs(): string;
  /** Ends it, by default with SIGTERM. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** The name that a stock kubeseal looks for, and the controller's service account. */
export const controllerName = "sealed-secrets-controller";

/**
 * Runs the real sealed-secrets controller against a cluster, with the type, the RBAC and the Service that it needs, or
 * against any other API server, which must have the type already. It has its key when this returns.
 * @throws where private mounts are not allowed: the controller reads its credentials from fixed paths below /var/run
 */
export async function startUpstreamController(
  target: Cluster | ApiAccess,
  options: UpstreamOptions = {},
): Promise<UpstreamController> {
  const namespace = options.namespace ?? "kube-system";
  const access = "kubectl" in target ? await prepare(target, namespace) : target;
  const controller = await start(access, namespace, options);
  if ("kubectl" in target)
    await target.exposeService({ namespace, name: controllerName, localPort: controller.httpPort });
  return controller;
}

async function prepare(cluster: Cluster, namespace: string): Promise<ApiAccess> {
  await applySealedSecretType(cluster);
  const token = await cluster.serviceAccountToken(namespace, controllerName);
  await cluster.kubectl(
    ["apply", "--server-side", "-f", "-"],
    JSON.stringify({ apiVersion: "v1", kind: "List", items: permissions(namespace) }),
  );
  return { url: cluster.url, caFile: cluster.caFile, token };
}

async function start(
  access: ApiAccess,
  namespace: string,
  { flags = [], env = {} }: UpstreamOptions,
): Promise<UpstreamController> {
  const directory = mkdtempSync(join(tmpdir(), "sealwright-upstream-"));
  guard.deleteAtEnd(directory);
  writeFileSync(join(directory, "token"), access.token, { mode: 0o600 });
  writeFileSync(join(directory, "ca.crt"), readFileSync(access.caFile));
  writeFileSync(join(directory, "namespace"), namespace);
  const [httpPort, metricsPort] = [await freePort(), await freePort()];
  const { hostname, port } = new URL(access.url);
  const running = launch({
    ...withPrivateCredentials(directory, [
      await tool("sealed-secrets-controller"),
      `--listen-addr=127.0.0.1:${httpPort}`,
      `--listen-metrics-addr=127.0.0.1:${metricsPort}`,
      ...flags,
    ]),
    env: {
      KUBERNETES_SERVICE_HOST: hostname,
      KUBERNETES_SERVICE_PORT: port,
      POD_NAMESPACE: namespace,
      ...env,
    },
    logFile: join(directory, "log"),
  });
  await untilReady("the upstream controller", running, async () => {
    const response = await fetch(`http://127.0.0.1:${httpPort}/v1/cert.pem`).catch(() => undefined);
    return response?.ok === true;
  });
  return {
    httpPort,
    metricsPort,
    logs: () => running.logs(),
    stop: async (signal) => {
      await running.stop(signal);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** The command line that shows `directory` to the program as its service account, in a mount namespace of its own. */
function withPrivateCredentials(
  directory: string,
  command: readonly string[],
): { program: string; args: readonly string[] } {
  const account = "/var/run/secrets/kubernetes.io/serviceaccount";
  const script = `
    mount -t tmpfs -o mode=755 testbed /var/run && mkdir -p ${account} && mount --bind "$0" ${account} && exec "$@"`;
  const isRoot = process.getuid?.() === 0;
  return { program: "unshare", args: [isRoot ? "-m" : "-Urm", "sh", "-c", script, directory, ...command] };
}

/** What the controller uses, and no more. */
function permissions(namespace: string): object[] {
  const apiVersion = "rbac.authorization.k8s.io/v1";
  const apiGroup = "rbac.authorization.k8s.io";
  const account = { kind: "ServiceAccount", name: controllerName, namespace };
  const rule = (group: string, resource: string, ...verbs: string[]): object => ({
    apiGroups: [group],
    resources: [resource],
    verbs,
  });
  const unsealer = [
    rule("bitnami.com", "sealedsecrets", "get", "list", "watch"),
    rule("bitnami.com", "sealedsecrets/status", "update"),
    rule("", "secrets", "get", "list", "create", "update", "delete", "watch"),
    rule("", "events", "create", "patch"),
    rule("", "namespaces", "get"),
  ];
  const metadata = { name: `${controllerName}-${namespace}` };
  return [
    { apiVersion, kind: "ClusterRole", metadata, rules: unsealer },
    {
      apiVersion,
      kind: "ClusterRoleBinding",
      metadata,
      roleRef: { apiGroup, kind: "ClusterRole", name: metadata.name },
      subjects: [account],
    },
  ];
}
