import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startCluster, type Cluster } from "../testbed/cluster.ts";
import { grantedRules, parseManifests, type GrantedRule, type Manifest } from "./granted-rules.ts";

const deploy = join(import.meta.dirname, "../../controller/deploy");
const account = "sealwright-controller";

let cluster: Cluster;
let base: string;

beforeAll(async () => {
  cluster = await startCluster();
  base = await cluster.kubectl(["kustomize", deploy]);
  await cluster.kubectl(["apply", "-f", "-"], base);
});

afterAll(() => cluster.stop());

const lines = (output: string): string[] => output.trim().split("\n");

function only(manifests: readonly Manifest[], kind: string, name = account): Manifest {
  const found = manifests.filter((object) => object.kind === kind && object.metadata.name === name);
  expect(found, `${kind} ${name}`).toHaveLength(1);
  return found[0]!;
}

describe("applied to a real API server", () => {
  async function resourceVersions(): Promise<string> {
    const columns = "custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion";
    return cluster.kubectl(["get", "-f", "-", "-o", columns], base);
  }

  test("a second apply changes nothing, and diff finds nothing", async () => {
    const before = await resourceVersions();
    const output = lines(await cluster.kubectl(["apply", "-f", "-"], base));
    expect(output).toHaveLength(parseManifests(base).length);
    // kubectl sends the selector of a disruption budget each time, since its type says "replace"; nothing comes of it.
    const words = output.filter((line) => !line.startsWith("poddisruptionbudget.policy/"));
    expect(words.filter((line) => !line.endsWith(" unchanged"))).toEqual([]);
    expect(await cluster.kubectl(["diff", "-f", "-"], base)).toBe("");
    expect(await resourceVersions()).toBe(before);
  });

  test("a second server-side apply, which GitOps tools use, writes nothing", async () => {
    const apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    await cluster.kubectl(apply, base);
    const before = await resourceVersions();
    await cluster.kubectl(apply, base);
    expect(await resourceVersions()).toBe(before);
  });

  test("takes over the Service of an upstream manifest, selector included", async () => {
    const upstream = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "sealed-secrets-controller", namespace: "kube-system" },
      spec: { selector: { name: "sealed-secrets-controller" }, ports: [{ port: 8080, targetPort: 8080 }] },
    };
    await cluster.kubectl(["delete", "service", "-n", "kube-system", "sealed-secrets-controller"]);
    await cluster.kubectl(["apply", "-f", "-"], JSON.stringify(upstream));
    await cluster.kubectl(["apply", "-f", "-"], base);
    const get = ["get", "service", "-n", "kube-system", "sealed-secrets-controller", "-o", "json"];
    const { spec } = JSON.parse(await cluster.kubectl(get)) as {
      spec: { selector: unknown; ports: { name: string; port: number; targetPort: unknown }[] };
    };
    expect(spec.selector).toEqual({ "app.kubernetes.io/name": account });
    expect(spec.ports).toMatchObject([{ name: "http", port: 8080, targetPort: "http" }]);
  });
});

describe("the pod", () => {
  /** What the Deployment would create; there is no controller that does. */
  function podOf(manifests: readonly Manifest[], namespace: string): Pod {
    const { template } = only(manifests, "Deployment")["spec"] as { template: Pod };
    const pod = structuredClone(template);
    return { ...pod, apiVersion: "v1", kind: "Pod", metadata: { ...pod.metadata, name: account, namespace } };
  }

  interface Pod extends Manifest {
    apiVersion: string;
    spec: {
      containers: { securityContext: Record<string, unknown> }[];
      securityContext: Record<string, unknown>;
    };
  }

  const admit = (pod: Pod): Promise<string> =>
    cluster.kubectl(["create", "--dry-run=server", "-o", "name", "-f", "-"], JSON.stringify(pod));

  beforeAll(async () => {
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "restricted", labels } };
    await cluster.kubectl(["apply", "-f", "-"], JSON.stringify(namespace));
  });

  test("T73 is admitted where the restricted profile is enforced", async () => {
    const pod = podOf(parseManifests(base), "restricted");
    expect((await admit(pod)).trim()).toBe(`pod/${account}`);
    expect(
      pod.spec.containers.map(({ securityContext }) => securityContext["readOnlyRootFilesystem"]),
    ).toEqual([true]);
  });

  test.each([
    [
      "privilege escalation",
      (pod: Pod) => (pod.spec.containers[0]!.securityContext["allowPrivilegeEscalation"] = true),
    ],
    ["capabilities", (pod: Pod) => delete pod.spec.containers[0]!.securityContext["capabilities"]],
    ["a root user", (pod: Pod) => (pod.spec.securityContext["runAsUser"] = 0)],
    ["no seccomp profile", (pod: Pod) => delete pod.spec.securityContext["seccompProfile"]],
  ])("T73 the same pod with %s is refused there", async (_what, loosen) => {
    const pod = podOf(parseManifests(base), "restricted");
    loosen(pod);
    await expect(admit(pod)).rejects.toThrow(/violates PodSecurity "restricted/);
  });

  test("is what Services, NetworkPolicy and disruption budget select", () => {
    const manifests = parseManifests(base);
    const { labels = {} } = podOf(manifests, "any").metadata;
    const spec = (kind: string, name?: string): Record<string, never> =>
      only(manifests, kind, name)["spec"] as never;
    const selectors: Record<string, string>[] = [
      spec("Service", "sealed-secrets-controller")["selector"]!,
      spec("Service", "sealed-secrets-controller-metrics")["selector"]!,
      spec("NetworkPolicy")["podSelector"]!["matchLabels"],
      spec("PodDisruptionBudget")["selector"]!["matchLabels"],
      spec("Deployment")["selector"]!["matchLabels"],
    ];
    for (const selector of selectors) {
      expect(Object.keys(selector)).not.toEqual([]);
      expect(labels).toMatchObject(selector);
    }
    // One replica and a budget that wants it to stay would block every node drain.
    expect(spec("PodDisruptionBudget")).not.toHaveProperty("minAvailable");
  });
});

/** A question to the API server's authorizer; namespace `undefined` asks for all of them. */
interface Question {
  verb: string;
  resource: string;
  group?: string;
  namespace?: string | undefined;
  name?: string;
}

interface Asker {
  user: string;
  groups: string[];
}

const controllerIn = (namespace: string): Asker => ({
  user: `system:serviceaccount:${namespace}:${account}`,
  groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
});

/** Those of the questions that the API server answers with yes. */
async function allowed(asker: Asker, questions: readonly Question[]): Promise<Question[]> {
  const items = questions.map(({ resource: path, ...rest }) => {
    const [resource, subresource] = path.split("/");
    const resourceAttributes = { ...rest, resource, ...(subresource === undefined ? {} : { subresource }) };
    return {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: { ...asker, resourceAttributes },
    };
  });
  const list = JSON.stringify({ apiVersion: "v1", kind: "List", items });
  const answer = 'jsonpath={.status.allowed}{"\\n"}';
  const given = lines(await cluster.kubectl(["create", "-f", "-", "-o", answer], list));
  expect(given).toHaveLength(questions.length);
  return questions.filter((_, index) => given[index] === "true");
}

describe("rights", () => {
  const ownSecrets = ["list", "watch", "get", "create"];
  /** Every request that the controller sends, for the whole cluster and then in its own namespace. */
  const used: GrantedRule[] = [
    ...["list", "watch"].map((verb) => ({ verb, resource: "sealedsecrets", group: "bitnami.com" })),
    { verb: "update", resource: "sealedsecrets/status", group: "bitnami.com" },
    ...["list", "watch", "get", "create", "update"].map((verb) => ({ verb, resource: "secrets", group: "" })),
    ...["create", "patch"].map((verb) => ({ verb, resource: "events", group: "" })),
  ]
    .map((rule): GrantedRule => ({ ...rule, namespace: undefined }))
    .concat(ownSecrets.map((verb) => ({ verb, resource: "secrets", group: "", namespace: "kube-system" })));

  const sorted = (rules: readonly GrantedRule[]): string[] =>
    rules
      .map(({ verb, group, resource, namespace = "*" }) => `${namespace} ${group}/${resource} ${verb}`)
      .sort();

  test("T73 the roles grant what the controller uses, and nothing more", () => {
    expect(sorted(grantedRules(parseManifests(base), account))).toEqual(sorted(used));
  });

  test("the API server lets the controller do all that it uses", async () => {
    expect(await allowed(controllerIn("kube-system"), used)).toEqual(used);
  });

  test("the API server lets the controller do nothing else with secrets, keys, tokens and roles", async () => {
    const forbidden: Question[] = [
      ...["delete", "deletecollection", "patch"].flatMap((verb) => [
        { verb, resource: "secrets", namespace: "default" },
        { verb, resource: "secrets", namespace: "kube-system" },
      ]),
      ...["create", "update", "patch", "delete"].map((verb) => ({
        ...{ verb, resource: "sealedsecrets", group: "bitnami.com", namespace: "default" },
      })),
      { verb: "create", resource: "serviceaccounts/token", namespace: "kube-system", name: account },
      { verb: "impersonate", resource: "serviceaccounts", namespace: "default" },
      ...["get", "list", "bind", "escalate"].flatMap((verb) =>
        ["roles", "rolebindings", "clusterroles", "clusterrolebindings"].map((resource) => ({
          ...{ verb, resource, group: "rbac.authorization.k8s.io", namespace: "default" },
        })),
      ),
      { verb: "create", resource: "pods", namespace: "kube-system" },
      { verb: "create", resource: "pods/exec", namespace: "kube-system" },
      { verb: "get", resource: "configmaps", namespace: "kube-system" },
      { verb: "list", resource: "namespaces" },
      { verb: "update", resource: "customresourcedefinitions", group: "apiextensions.k8s.io" },
      { verb: "create", resource: "services/proxy", namespace: "default" },
    ];
    expect(await allowed(controllerIn("kube-system"), forbidden)).toEqual([]);
  });

  test("another account of the same namespace has none of the controller's rights", async () => {
    const other = { ...controllerIn("kube-system"), user: "system:serviceaccount:kube-system:other" };
    expect(await allowed(other, used)).toEqual([]);
  });

  test("any user reaches the Service as kubeseal does, and neither metrics nor the keys", async () => {
    const user = { user: "jane", groups: ["system:authenticated"] };
    const at = { namespace: "kube-system" };
    const proxied = [
      "http:sealed-secrets-controller:",
      "http:sealed-secrets-controller:http",
      "sealed-secrets-controller",
    ];
    const kubeseal: Question[] = [
      { ...at, verb: "get", resource: "services", name: "sealed-secrets-controller" },
      ...proxied.flatMap((name) =>
        ["get", "create"].map((verb) => ({ ...at, verb, resource: "services/proxy", name })),
      ),
    ];
    expect(await allowed(user, kubeseal)).toEqual(kubeseal);
    const beyond: Question[] = [
      ...["http:sealed-secrets-controller-metrics:metrics", "kube-dns"].map((name) => ({
        ...{ ...at, verb: "get", resource: "services/proxy", name },
      })),
      { ...at, verb: "delete", resource: "services/proxy", name: "sealed-secrets-controller" },
      { ...at, verb: "list", resource: "secrets" },
    ];
    expect(await allowed(user, beyond)).toEqual([]);
  });
});

/** The overlay of docs, in a directory of the test. @returns what kustomize makes of it. */
async function overlay(name: string, kustomization: (base: string) => object): Promise<string> {
  const directory = join(cluster.directory, name);
  await mkdir(directory, { recursive: true });
  const content = JSON.stringify(kustomization(relative(directory, deploy)));
  await writeFile(join(directory, "kustomization.yaml"), content);
  return cluster.kubectl(["kustomize", directory]);
}

describe("with replicas", () => {
  const replicated = (name: string, namespace: string): Promise<string> =>
    overlay(name, (path) => ({ namespace, resources: [path], components: [`${path}/components/replicas`] }));

  const lease = { resource: "leases", group: "coordination.k8s.io", namespace: "kube-system" };
  const own: Question[] = [
    ...["get", "update"].map((verb) => ({ ...lease, verb, name: account })),
    { ...lease, verb: "create" },
  ];

  test("two elect a leader by a Lease in their own namespace, and have rights on no other", async () => {
    expect(await allowed(controllerIn("kube-system"), own)).toEqual([]);
    await cluster.kubectl(["apply", "-f", "-"], await replicated("replicas", "kube-system"));
    try {
      expect(await allowed(controllerIn("kube-system"), own)).toEqual(own);
      const beyond: Question[] = [
        ...["get", "update"].map((verb) => ({ ...lease, verb, name: "kube-scheduler" })),
        ...["list", "watch", "patch", "delete"].map((verb) => ({ ...lease, verb, name: account })),
        { ...lease, verb: "create", namespace: "default" },
        { ...lease, verb: "get", name: account, namespace: "default" },
      ];
      expect(await allowed(controllerIn("kube-system"), beyond)).toEqual([]);
    } finally {
      await cluster.kubectl(["apply", "-f", "-"], base);
      await cluster.kubectl(["delete", "-n", "kube-system", "role,rolebinding", "sealwright-lease"]);
    }
  });

  test("the Deployment, its update and its disruption budget fit two", async () => {
    const manifests = parseManifests(await replicated("replicas-elsewhere", "sealing"));
    expect(only(manifests, "PodDisruptionBudget")["spec"]).toMatchObject({ minAvailable: 1 });
    expect(only(manifests, "PodDisruptionBudget")["spec"]).not.toHaveProperty("maxUnavailable");
    const deployment = only(manifests, "Deployment")["spec"] as {
      selector: { matchLabels: object };
      template: { spec: { topologySpreadConstraints: object[]; containers: { env: object[] }[] } };
    };
    expect(deployment).toMatchObject({ replicas: 2, strategy: { type: "RollingUpdate" } });
    const { topologySpreadConstraints, containers } = deployment.template.spec;
    expect(topologySpreadConstraints).toMatchObject([{ labelSelector: deployment.selector }]);
    const { env } = containers[0]!;
    expect(env).toContainEqual({ name: "SEALED_SECRETS_LEADER_ELECT", value: "true" });
    expect(env).toContainEqual(expect.objectContaining({ name: "POD_NAMESPACE" }));
    const granted = grantedRules(manifests, account).filter(({ resource }) => resource === "leases");
    expect(granted.map(({ verb, namespace }) => `${verb} ${namespace}`).sort()).toEqual(
      ["create", "get", "update"].map((verb) => `${verb} sealing`),
    );
  });
});

describe("for some namespaces only", () => {
  test("the controller has rights in its own and the bound namespaces, and in no other", async () => {
    const controller = await overlay("namespaced", (path) => ({
      ...{ namespace: "kube-system", resources: [path], components: [`${path}/components/namespaced`] },
    }));
    const team = await overlay("team-a", (path) => ({
      namespace: "team-a",
      resources: [`${path}/served-namespace`],
    }));
    await cluster.kubectl(["create", "namespace", "team-a"]);
    const names =
      "clusterrolebinding sealwright-read-sealed-secrets sealwright-write-secrets sealwright-report-events";
    await cluster.kubectl(["delete", ...names.split(" ")]);
    try {
      await cluster.kubectl(["apply", "-f", "-"], controller);
      await cluster.kubectl(["apply", "-f", "-"], team);
      const question = { verb: "update", resource: "secrets" };
      const asked = ["kube-system", "team-a", "default", undefined].map((namespace) => ({
        ...question,
        namespace,
      }));
      const yes = await allowed(controllerIn("kube-system"), asked);
      expect(yes.map(({ namespace }) => namespace)).toEqual(["kube-system", "team-a"]);
      expect(controller).toMatch(/name: SEALED_SECRETS_ALL_NAMESPACES\s+value: "false"/);
    } finally {
      await cluster.kubectl(["apply", "-f", "-"], base);
    }
  });

  test("in a namespace of its own every binding follows the service account there", async () => {
    const built = await overlay("elsewhere", (path) => ({
      ...{ namespace: "sealing", resources: [path], components: [`${path}/components/namespaced`] },
    }));
    const manifests = parseManifests(built);
    expect(built).not.toContain("namespace: kube-system");
    expect(new Set(grantedRules(manifests, account).map(({ namespace }) => namespace))).toEqual(
      new Set(["sealing"]),
    );
    expect(manifests.filter(({ kind }) => kind === "ClusterRoleBinding")).toEqual([]);
  });

  test("the monitor selects the metrics Service and its port", async () => {
    const manifests = parseManifests(
      await overlay("monitored", (path) => ({
        resources: [path],
        components: [`${path}/components/monitoring`],
      })),
    );
    const { selector, endpoints } = only(manifests, "ServiceMonitor")["spec"] as {
      selector: { matchLabels: Record<string, string> };
      endpoints: { port: string }[];
    };
    const selected = manifests.filter(
      ({ kind, metadata: { labels = {} } }) =>
        kind === "Service" &&
        Object.entries(selector.matchLabels).every(([key, value]) => labels[key] === value),
    );
    expect(selected.map(({ metadata }) => metadata.name)).toEqual(["sealed-secrets-controller-metrics"]);
    const ports = (selected[0]!["spec"] as { ports: { name: string }[] }).ports.map(({ name }) => name);
    expect(endpoints.map(({ port }) => port)).toEqual(ports);
  });
});
