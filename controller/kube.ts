import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { delimiter } from "node:path";
import type { RequestOptions } from "node:https";
import type { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { SecretError } from "../formats/errors.ts";
import type { Kube } from "./kube-api.ts";
import { KubeClient, type KubeOptions } from "./kube-client.ts";
import type { Connect, Connection } from "./kube-request.ts";

export * from "./kube-api.ts";
export { KubeClient, type KubeOptions } from "./kube-client.ts";

/** Where to look for the cluster, and how to behave towards it. */
export interface LoadOptions extends Omit<KubeOptions, "connect" | "defaultNamespace"> {
  /** Path of a kubeconfig. Absent: the files in `KUBECONFIG`, else the service account that a pod has. */
  kubeconfig?: string | undefined;
  /** A context of the kubeconfig; absent: its current one. */
  context?: string | undefined;
  /** `process.env`, for `KUBECONFIG`, `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`. */
  env: Readonly<Record<string, string | undefined>>;
}

const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";
/** Mounted tokens rotate, and so do files and tokens that a kubeconfig names; client-go reads them as often. */
const credentialsMs = 60_000;

/**
 * Logs in to a cluster; `~/.kube/config` isn't tried, so that a controller never acts on whatever cluster a person last
 * looked at.
 * @throws FileUnusable if the kubeconfig can't be read or names no cluster, Usage if there is nowhere to look
 */
export async function loadKube(options: LoadOptions): Promise<Kube> {
  const { env } = options;
  const paths = kubeconfigPaths(options.kubeconfig, env["KUBECONFIG"]);
  const login = paths.length > 0 ? await kubeconfigLogin(paths, options.context) : await podLogin(env);
  return new KubeClient({ ...options, ...login });
}

type Login = Pick<KubeOptions, "connect" | "defaultNamespace">;

/** As client-go: an explicit path must exist, those in the list may be missing. */
function kubeconfigPaths(explicit: string | undefined, list = ""): string[] {
  if (explicit !== undefined && explicit !== "") return [explicit];
  return list.split(delimiter).filter((path) => path !== "" && existsSync(path));
}

async function podLogin(env: LoadOptions["env"]): Promise<Login> {
  const host = env["KUBERNETES_SERVICE_HOST"] ?? "";
  const port = env["KUBERNETES_SERVICE_PORT"] ?? "443";
  if (host === "") {
    throw new SecretError("Usage", "no cluster to connect to", {
      hint: "give --kubeconfig or KUBECONFIG, run in a pod, or start with --embedded",
    });
  }
  const server = new URL(`https://${host.includes(":") ? `[${host}]` : host}:${port}`);
  const connect = remembered(async () => ({
    server,
    tls: { ca: await mounted("ca.crt") },
    headers: { Authorization: `Bearer ${(await mounted("token")).trim()}` },
  }));
  return { connect, defaultNamespace: (await mounted("namespace")).trim() };
}

async function mounted(name: string): Promise<string> {
  return readFile(`${serviceAccount}/${name}`, "utf8").catch((thrown: unknown) => {
    throw new SecretError("FileUnusable", `${serviceAccount}/${name} can't be read`, {
      cause: thrown,
      hint: "mount the service account token into the pod",
    });
  });
}

async function kubeconfigLogin(paths: string[], context: string | undefined): Promise<Login> {
  let config = await readKubeconfig(paths, context);
  const connect = remembered(async (fresh) => {
    if (fresh) config = await readKubeconfig(paths, context);
    return connectionOf(config, paths);
  });
  const { namespace } = config.getContextObject(config.getCurrentContext()) ?? {};
  return { connect, defaultNamespace: namespace };
}

/** The Kubernetes client is loaded here and nowhere else: it brings every API class, which a pod never needs. */
async function readKubeconfig(paths: string[], context: string | undefined): Promise<KubeConfig> {
  const { KubeConfig } = await import("@kubernetes/client-node/dist/config.js");
  const merged = new KubeConfig();
  try {
    for (const path of paths) {
      const next = new KubeConfig();
      next.loadFromFile(path);
      merged.clusters = firstWins(merged.clusters, next.clusters);
      merged.users = firstWins(merged.users, next.users);
      merged.contexts = firstWins(merged.contexts, next.contexts);
      merged.currentContext ||= next.currentContext;
    }
  } catch (thrown) {
    throw new SecretError("FileUnusable", `kubeconfig ${paths.join(", ")} can't be read`, { cause: thrown });
  }
  if (context !== undefined && context !== "") merged.setCurrentContext(context);
  if (merged.getCurrentCluster() === null) {
    throw new SecretError("FileUnusable", `kubeconfig ${paths.join(", ")} names no cluster`, {
      hint: "set current-context, or choose another context",
    });
  }
  return merged;
}

function firstWins<T extends { name: string }>(before: T[], more: T[]): T[] {
  const named = new Map([...more, ...before].map((entry) => [entry.name, entry]));
  return [...named.values()];
}

async function connectionOf(config: KubeConfig, paths: string[]): Promise<Connection> {
  const cluster = config.getCurrentCluster();
  const url = URL.parse(cluster?.server ?? "");
  if (cluster === null || url === null) {
    throw new SecretError("FileUnusable", `kubeconfig ${paths.join(", ")}: the server is not a URL`);
  }
  const token = config.getCurrentUser()?.token;
  if (url.protocol === "http:") {
    return { server: url, tls: {}, headers: token === undefined ? {} : { Authorization: `Bearer ${token}` } };
  }
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (thrown) {
    throw new SecretError("Forbidden", `kubeconfig ${paths.join(", ")}: login failed`, {
      cause: thrown,
      hint: "run the login command of your cluster, and check that the files it names exist",
    });
  }
  return {
    server: url,
    ...securityOf(options),
    agent: cluster.proxyUrl === undefined ? undefined : agentOf(options),
  };
}

function agentOf(options: RequestOptions): Connection["agent"] {
  return typeof options.agent === "object" ? options.agent : undefined;
}

function securityOf(options: RequestOptions): Pick<Connection, "tls" | "headers"> {
  const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized, auth } = options;
  const tls = Object.entries({ ca, cert, key, pfx, passphrase, servername, rejectUnauthorized });
  const basic = auth == null ? {} : { Authorization: `Basic ${Buffer.from(auth).toString("base64")}` };
  return {
    tls: Object.fromEntries(tls.filter(([, value]) => value !== undefined)),
    headers: { ...(options.headers as Record<string, string> | undefined), ...basic },
  };
}

/** Asks again once a minute, or at once after a 401; callers that come together share one answer. */
function remembered(ask: (fresh: boolean) => Promise<Connection>): Connect {
  let answer: Promise<Connection> | undefined;
  let askedAt = 0;
  return (fresh) => {
    const now = performance.now();
    // A burst of 401s comes from the same stale credentials: one second is enough to tell a new one.
    if (answer === undefined || now - askedAt > (fresh ? 1_000 : credentialsMs)) {
      askedAt = now;
      const asking = ask(fresh);
      asking.catch(() => {
        if (answer === asking) answer = undefined;
      });
      answer = asking;
    }
    return answer;
  };
}
