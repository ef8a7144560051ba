import { generateKeyPairSync, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { freePort, launch, untilReady, type Running } from "./process.ts";
import { startServiceNetwork } from "./service-network.ts";
import { tool } from "./tools.ts";

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

/** The ports on 127.0.0.1 that a cluster keeps over restarts. */
export interface Ports {
  readonly etcdPort: number;
  readonly peerPort: number;
  readonly apiPort: number;
}

/** Three ports that nobody listens on. */
export async function freePorts(): Promise<Ports> {
  return { etcdPort: await freePort(), peerPort: await freePort(), apiPort: await freePort() };
}

interface PartPlan {
  name: "etcd" | "kube-apiserver" | "kube-controller-manager";
  args: readonly string[];
  isReady: () => Promise<boolean>;
}

/** The servers of one cluster, with their files in one directory. */
export class ControlPlane {
  readonly directory: string;
  readonly access: ApiAccess;
  readonly #ports: Ports;
  readonly #started: { stop(): Promise<void> }[] = [];

  constructor(directory: string, ports: Ports) {
    this.directory = directory;
    this.access = {
      url: `https://127.0.0.1:${ports.apiPort}`,
      caFile: join(directory, "apiserver.crt"),
      token: randomBytes(16).toString("hex"),
    };
    this.#ports = ports;
  }

  /** Before the API server, which connects to services through it. */
  async startNetwork(): Promise<void> {
    this.#started.push(await startServiceNetwork(join(this.directory, "network.sock")));
  }

  startEtcd(fsync: boolean): Promise<Part> {
    return this.#start({
      name: "etcd",
      args: [...etcdArgs(this.directory, this.#ports), ...(fsync ? [] : ["--unsafe-no-fsync"])],
      isReady: () => isOk(`http://127.0.0.1:${this.#ports.etcdPort}/health`),
    });
  }

  startApiserver(flags: readonly string[]): Promise<Part> {
    writeApiServerFiles(this.directory, this.access.token);
    return this.#start({
      name: "kube-apiserver",
      args: [...apiserverArgs(this.directory, this.#ports), ...flags],
      isReady: () => isApiReady(this.access),
    });
  }

  startManager(kubeconfig: string): Promise<Part> {
    return this.#start({
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

  /** Ends what was started, the last first. */
  async stop(): Promise<void> {
    for (const part of this.#started.splice(0).reverse()) await part.stop();
  }

  async #start({ name, args, isReady }: PartPlan): Promise<Part> {
    const program = await tool(name);
    const logFile = join(this.directory, `${name}.log`);
    let running: Running | undefined;
    const part: Part = {
      start: async () => {
        running = launch({ program, args, logFile });
        await untilReady(name, running, isReady);
      },
      stop: async (signal = "SIGKILL") => running?.stop(signal),
      freeze: () => running?.freeze(),
      thaw: () => running?.thaw(),
      logs: () => readFileSync(logFile, "utf8"),
    };
    this.#started.push(part);
    await part.start();
    return part;
  }
}

function etcdArgs(directory: string, { etcdPort, peerPort }: Ports): string[] {
  const [client, peer] = [`http://127.0.0.1:${etcdPort}`, `http://127.0.0.1:${peerPort}`];
  return [
    `--data-dir=${join(directory, "etcd")}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
  ];
}

function apiserverArgs(directory: string, { etcdPort, apiPort }: Ports): string[] {
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

function isOk(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
}

function isApiReady({ url, caFile, token }: ApiAccess): Promise<boolean> {
  return new Promise((resolve) => {
    // The server writes its certificate while it starts.
    const ca = read(caFile);
    if (ca === undefined) {
      resolve(false);
      return;
    }
    const headers = { authorization: `Bearer ${token}` };
    const asked = request(`${url}/readyz`, { ca, headers, agent: false, timeout: 2000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asked.once("timeout", () => asked.destroy());
    asked.once("error", () => resolve(false));
    asked.end();
  });
}

function read(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}
