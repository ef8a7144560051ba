import { join } from "node:path";
import { secrets, type KubeObject, type Resource } from "../../controller/kube.ts";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { isSynced } from "../../controller/status.ts";
import { asSecretError } from "../../formats/errors.ts";
import { randomNumbers, seed as seedOfRun } from "../seed.ts";
import { startCluster, type Cluster, type ClusterOptions } from "../testbed/cluster.ts";
import { startFaultProxy, type FaultProxy } from "../testbed/fault-proxy.ts";
import { eventually } from "../testbed/process.ts";
import { parseManifests, type Manifest } from "./granted-rules.ts";
import { readiness, startSubject, type Subject } from "./subject.ts";

const deploy = join(import.meta.dirname, "../../controller/deploy");

/** Each promise is kept within this time after the end of a fault. */
export const recoverySeconds = 30;

/** A controller as a process, under its deployed rights, that reaches the API server through a fault proxy. */
export interface FaultRig {
  cluster: Cluster;
  proxy: FaultProxy;
  subject: Subject;
  /** What `controller/deploy` applies. */
  manifests: readonly Manifest[];
  expected: Expected;
  /** In [0, 1), from the logged seed. */
  random: () => number;
  stop: () => Promise<void>;
}

/** Starts all parts; the type of SealedSecrets is there from the start unless `without` names its kind. */
export async function startFaultRig(
  options: ClusterOptions & { without?: string; seed?: number } = {},
): Promise<FaultRig> {
  const { without, seed = seedOfRun, ...clusterOptions } = options;
  const cluster = await startCluster(clusterOptions);
  const manifests = parseManifests(await cluster.kubectl(["kustomize", deploy]));
  const applied = manifests.filter(({ kind }) => kind !== without);
  await cluster.kubectl(
    ["apply", "-f", "-"],
    JSON.stringify({ apiVersion: "v1", kind: "List", items: applied }),
  );
  const token = await cluster.serviceAccountToken("kube-system", "sealwright-controller");
  const proxy = await startFaultProxy({ ...cluster, token }, seed);
  const subject = await startSubject({
    kubeconfig: cluster.kubeconfig,
    controllerKubeconfig: proxy.kubeconfig,
    ...(without === undefined ? {} : { unready: true }),
    stop: async () => {
      await proxy.stop();
      await cluster.stop();
    },
  });
  const expected = new Expected(subject);
  return {
    ...{ cluster, proxy, subject, manifests, expected },
    random: randomNumbers(seed),
    stop: () => subject.stop(),
  };
}

/** Waits for the readiness probe to answer with this status. */
export async function untilReadiness({ url }: Subject, status: number, seconds: number): Promise<void> {
  const is = async (): Promise<true | undefined> => ((await readiness(url)) === status ? true : undefined);
  await eventually(`readiness ${status}`, is, seconds);
}

/** What the cluster must hold: every SealedSecret's Secret as it was sealed last, and its status Synced. */
export class Expected {
  readonly #subject: Subject;
  readonly #values = new Map<string, string>();
  #revision = 0;

  constructor(subject: Subject) {
    this.#subject = subject;
  }

  get names(): readonly string[] {
    return [...this.#values.keys()];
  }

  /** Seals a new value under the name, and insists while the API server is away. */
  async seal(name: string = this.#subject.newName()): Promise<string> {
    const value = `value ${++this.#revision}`;
    await insist(() => this.#subject.seal({ name, entries: { value } }));
    this.#values.set(name, value);
    return name;
  }

  async sealMany(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.seal();
  }

  /** Does something to a SealedSecret or its Secret, drawn by chance: seal anew, edit, delete the Secret, add another. */
  async disturb(random: () => number): Promise<void> {
    const names = this.names;
    const name = names[Math.floor(random() * names.length)];
    const draw = random();
    if (name === undefined || draw < 0.25) await this.seal();
    else if (draw < 0.5) await this.seal(name);
    else if (draw < 0.75) await insist(() => this.#subject.deleteSecret(name));
    else await insist(() => this.edit(name));
  }

  /** Deletes the SealedSecret; nothing is expected of its Secret any more. */
  async remove(name: string): Promise<void> {
    await insist(() => this.#subject.deleteSealedSecret(name));
    this.#values.delete(name);
  }

  /** Secrets in the namespace that no SealedSecret stands for. */
  async leftOver(): Promise<string[]> {
    const { kube, namespace } = this.#subject;
    const { items } = await kube.list(secrets, { namespace });
    return items.map(({ metadata }) => metadata.name).filter((name) => !this.#values.has(name));
  }

  /** Puts a wrong value into the Secret, or a stray entry and a label, if it is there. */
  async edit(name: string): Promise<void> {
    const secret = await this.#subject.findSecret(name);
    if (secret === undefined) return;
    const wrong = Buffer.from(`wrong ${++this.#revision}`).toString("base64");
    const stray = { data: { stray: wrong }, metadata: { labels: { stray: "label" } } };
    const body = this.#revision % 2 === 0 ? stray : { data: { value: wrong } };
    await this.#subject.kube.patch(secrets, secret.metadata, { body }).catch(absentIsFine);
  }

  /** @throws with the names of those that are wrong still */
  async untilRight(seconds: number = recoverySeconds): Promise<void> {
    let wrong: string[] = [];
    const ask = async (): Promise<true | undefined> => {
      wrong = await this.#wrong().catch(() => ["the API server is away"]);
      return wrong.length === 0 ? true : undefined;
    };
    await eventually("every Secret to be right", ask, seconds).catch((thrown: unknown) => {
      const said = this.#subject.logs().split("\n");
      const lines = said
        .filter((line) => wrong.some((name) => line.includes(name.split(" ")[0] ?? "")))
        .slice(-30);
      throw new Error(`wrong: ${wrong.join(", ")}; the controller said: ${lines.join("\n")}`, {
        cause: thrown,
      });
    });
  }

  async #wrong(): Promise<string[]> {
    const { kube, namespace } = this.#subject;
    const byName = async (resource: Resource): Promise<Map<string, KubeObject>> => {
      const { items } = await kube.list(resource, { namespace });
      return new Map(items.map((item) => [item.metadata.name, item]));
    };
    const [made, sealed] = [await byName(secrets), await byName(sealedSecrets)];
    const isRight = (name: string, value: string): boolean => {
      const source = sealed.get(name);
      return source !== undefined && isSynced(source) && holds(made.get(name), value);
    };
    const describe = (name: string): string =>
      `${name} (Secret ${made.get(name)?.metadata.resourceVersion ?? "absent"}, status ${JSON.stringify(sealed.get(name)?.["status"])} at generation ${sealed.get(name)?.metadata.generation ?? 0})`;
    return [...this.#values].filter(([name, value]) => !isRight(name, value)).map(([name]) => describe(name));
  }
}

/** Another's deletion may come between a look and a write. */
function absentIsFine(thrown: unknown): void {
  if (asSecretError(thrown).code !== "NotFound") throw thrown;
}

/** Acts again while the API server is away or a write of the controller came between. */
async function insist(act: () => Promise<unknown>): Promise<void> {
  for (;;) {
    const error = await act().then(() => undefined, asSecretError);
    if (error === undefined) return;
    if (!["RemoteUnavailable", "Conflict", "Throttled"].includes(error.code)) throw error;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function holds(secret: KubeObject | undefined, value: string): boolean {
  const data = secret?.["data"] as Record<string, string> | undefined;
  return (
    data !== undefined &&
    Object.keys(data).length === 1 &&
    secret?.metadata.labels === undefined &&
    data["value"] === Buffer.from(value).toString("base64")
  );
}
