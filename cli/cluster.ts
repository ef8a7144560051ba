import { existsSync } from "node:fs";
import type { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent, type RequestOptions } from "node:https";
import type { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import type { Cluster, User } from "@kubernetes/client-node/dist/config_types.js";
import { SecretError } from "../formats/errors.ts";
import type { Flags } from "./flags.ts";
import { kubeconfigPaths, noConfiguration } from "./kubeconfig.ts";

/** A way to an API server: everything that a request to it needs. */
export interface Connection {
  server: URL;
  agent: HttpAgent;
  headers: Record<string, string | string[]>;
}

const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/**
 * Logs in to the cluster that the flags and the kubeconfig name, with any of kubectl's login methods.
 * @throws SecretError `FileUnusable` where no cluster is configured or the kubeconfig cannot be read; `Forbidden` where the login
 * fails
 */
export async function connect(flags: Flags): Promise<Connection> {
  // Loading the client takes most of a second, for it brings every API class.
  const { KubeConfig } = await import("@kubernetes/client-node/dist/config.js");
  const config = readConfig(flags, () => new KubeConfig());
  const cluster = chosenCluster(config, flags);
  const server = URL.parse(/:\/\//.test(cluster.server) ? cluster.server : `https://${cluster.server}`);
  if (server === null) throw new SecretError("FileUnusable", "the API server's address is not a URL");
  const login = new KubeConfig();
  // The client refuses to log in over HTTP, which loopback servers and `kubectl proxy` speak.
  const isPlain = server.protocol === "http:" && cluster.proxyUrl === undefined;
  login.loadFromClusterAndUser(
    isPlain ? { ...cluster, server: "https://plain" } : cluster,
    chosenUser(config, flags, cluster),
  );
  return connection(login, { server, flags, hasProxy: cluster.proxyUrl !== undefined });
}

function readConfig(flags: Flags, create: () => KubeConfig): KubeConfig {
  const merged = create();
  const paths = kubeconfigPaths(flags);
  if (
    paths.length === 0 &&
    existsSync(serviceAccountToken) &&
    process.env["KUBERNETES_SERVICE_HOST"] !== undefined
  ) {
    merged.loadFromCluster();
    return merged;
  }
  for (const path of paths) {
    const next = create();
    try {
      next.loadFromFile(path);
    } catch (cause) {
      throw new SecretError("FileUnusable", `kubeconfig ${path} cannot be read`, {
        cause,
        hint: "check the file with `kubectl config view`",
      });
    }
    merged.clusters = firstWins(merged.clusters, next.clusters);
    merged.users = firstWins(merged.users, next.users);
    merged.contexts = firstWins(merged.contexts, next.contexts);
    merged.currentContext ||= next.currentContext;
  }
  if (flags.context !== undefined) merged.setCurrentContext(flags.context);
  return merged;
}

function firstWins<T extends { name: string }>(before: T[], more: T[]): T[] {
  return [...new Map([...more, ...before].map((entry) => [entry.name, entry])).values()];
}

function chosenCluster(config: KubeConfig, flags: Flags): Cluster {
  const context = config.getContextObject(config.currentContext);
  if (flags.context !== undefined && context === null) throw missing("context", flags.context);
  const name = flags.cluster ?? context?.cluster;
  const found = name === undefined ? null : config.getCluster(name);
  if (flags.cluster !== undefined && found === null) throw missing("cluster", flags.cluster);
  const server = flags.server ?? found?.server;
  if (server === undefined) {
    throw new SecretError("FileUnusable", noConfiguration, {
      hint: "give a certificate with --cert, or a cluster with --kubeconfig, KUBECONFIG or --server",
    });
  }
  const caFile = flags.certificateAuthority ?? found?.caFile;
  const caData = flags.certificateAuthority === undefined ? found?.caData : undefined;
  const tlsServerName = flags.tlsServerName ?? found?.tlsServerName;
  const proxyUrl = flags.proxyUrl ?? found?.proxyUrl;
  return {
    name: "chosen",
    server,
    skipTLSVerify: flags.insecureSkipTlsVerify ?? found?.skipTLSVerify ?? false,
    ...(caFile === undefined ? {} : { caFile }),
    ...(caData === undefined ? {} : { caData }),
    ...(tlsServerName === undefined ? {} : { tlsServerName }),
    ...(proxyUrl === undefined ? {} : { proxyUrl }),
  };
}

function missing(what: string, name: string): SecretError {
  return new SecretError("FileUnusable", `the kubeconfig has no ${what} ${name}`, {
    hint: "`kubectl config view` shows what it has",
  });
}

function chosenUser(config: KubeConfig, flags: Flags, cluster: Cluster): User {
  const name = flags.user ?? config.getContextObject(config.currentContext)?.user;
  const found = name === undefined ? null : config.getUser(name);
  if (flags.user !== undefined && found === null) throw missing("user", flags.user);
  // A credential on the command line replaces those of the kubeconfig, its plugin included.
  const hasOwn = flags.token !== undefined || flags.username !== undefined;
  const user: User = hasOwn || found === null ? { name: "chosen" } : withExecInfo(found, cluster);
  const given = {
    token: flags.token,
    username: flags.username,
    password: flags.username === undefined ? undefined : (flags.password ?? ""),
    certFile: flags.clientCertificate,
    keyFile: flags.clientKey,
    impersonateUser: flags.as,
  };
  const kept = flags.clientCertificate === undefined ? user : without(user, ["certData", "keyData"]);
  return { ...kept, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) };
}

function without(user: User, fields: readonly (keyof User)[]): User {
  return Object.fromEntries(
    Object.entries(user).filter(([field]) => !(fields as readonly string[]).includes(field)),
  ) as unknown as User;
}

interface ExecConfig {
  apiVersion?: string;
  env?: { name: string; value: string }[] | null;
  provideClusterInfo?: boolean;
}

/** Login plugins are told in the environment which protocol version is spoken, and for which cluster. */
function withExecInfo(user: User, cluster: Cluster): User {
  const exec = user.exec as ExecConfig | null | undefined;
  if (exec === null || exec === undefined) return user;
  const about = { server: cluster.server, "certificate-authority-data": cluster.caData };
  const info = {
    apiVersion: exec.apiVersion,
    kind: "ExecCredential",
    spec: { interactive: false, ...(exec.provideClusterInfo === true ? { cluster: about } : {}) },
  };
  return {
    ...user,
    exec: {
      ...exec,
      env: [...(exec.env ?? []), { name: "KUBERNETES_EXEC_INFO", value: JSON.stringify(info) }],
    },
  };
}

async function connection(
  config: KubeConfig,
  { server, flags, hasProxy }: { server: URL; flags: Flags; hasProxy: boolean },
): Promise<Connection> {
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (cause) {
    throw new SecretError("Forbidden", "the login to the cluster failed", {
      cause,
      hint: "run the cluster's login command, and check that the files that the kubeconfig names exist",
    });
  }
  return { server, headers: headersOf(options, flags), agent: await agentFor(server, options, hasProxy) };
}

function headersOf(options: RequestOptions, flags: Flags): Connection["headers"] {
  const basic =
    options.auth == null ? {} : { Authorization: `Basic ${Buffer.from(options.auth).toString("base64")}` };
  const groups = flags.asGroup === undefined ? {} : { "Impersonate-Group": flags.asGroup };
  return {
    ...(options.headers as Record<string, string> | undefined),
    ...basic,
    ...(flags.asUid === undefined ? {} : { "Impersonate-Uid": flags.asUid }),
    ...groups,
  };
}

async function agentFor(server: URL, options: RequestOptions, hasProxy: boolean): Promise<HttpAgent> {
  if (hasProxy && typeof options.agent === "object") return options.agent;
  const proxyEnv = process.env;
  if (server.protocol === "http:")
    return new (await import("node:http")).Agent({ keepAlive: true, proxyEnv });
  const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized } = options;
  const tls = Object.entries({ ca, cert, key, pfx, passphrase, servername, rejectUnauthorized });
  return new HttpsAgent({
    keepAlive: true,
    proxyEnv,
    ...Object.fromEntries(tls.filter(([, value]) => value !== undefined)),
  });
}
