import { without, type JsonObject } from "./objects.ts";
import { apiVersionOf, type Registry, type Resource } from "./resources.ts";

/** What `/version` answers: clients compare versions by it. */
export const versionInfo: JsonObject = {
  major: "1",
  minor: "34",
  emulationMajor: "1",
  emulationMinor: "34",
  minCompatibilityMajor: "1",
  minCompatibilityMinor: "33",
  gitVersion: "v1.34.4+sealwright",
  gitCommit: "embedded",
  gitTreeState: "clean",
  buildDate: "2026-01-01T00:00:00Z",
  goVersion: "none",
  compiler: "node",
  platform: `${process.platform}/${process.arch}`,
};

interface Row {
  name: string;
  kind: string;
  verbs: readonly string[];
  /** Group and version of `kind` where it is not the resource's. */
  group?: string;
  version?: string;
}

const readWrite = ["get", "patch", "update"];
const reviews: Record<string, readonly Row[]> = {
  "authentication.k8s.io/v1": [{ name: "tokenreviews", kind: "TokenReview", verbs: ["create"] }],
  "authorization.k8s.io/v1": [
    { name: "selfsubjectaccessreviews", kind: "SelfSubjectAccessReview", verbs: ["create"] },
    { name: "selfsubjectrulesreviews", kind: "SelfSubjectRulesReview", verbs: ["create"] },
    { name: "subjectaccessreviews", kind: "SubjectAccessReview", verbs: ["create"] },
  ],
};

function subresourceRow(resource: Resource, name: string): Row {
  if (name === "token") {
    return { name, kind: "TokenRequest", verbs: ["create"], group: "authentication.k8s.io", version: "v1" };
  }
  if (name === "proxy") {
    return { name, kind: "ServiceProxyOptions", verbs: ["create", "delete", "get", "patch", "update"] };
  }
  return { name, kind: resource.kind, verbs: name === "finalize" ? ["update"] : readWrite };
}

function resourceList(resource: Resource): JsonObject[] {
  const { plural, singular, namespaced, kind, verbs, shortNames, categories } = resource;
  const own: JsonObject = { name: plural, singularName: singular, namespaced, kind, verbs: [...verbs] };
  if (shortNames.length > 0) own["shortNames"] = [...shortNames];
  if (categories.length > 0) own["categories"] = [...categories];
  const below = resource.subresources.map((name) => {
    const row = subresourceRow(resource, name);
    return {
      name: `${plural}/${row.name}`,
      singularName: "",
      namespaced,
      ...(row.group === undefined ? {} : { group: row.group, version: row.version ?? "" }),
      kind: row.kind,
      verbs: [...row.verbs],
    };
  });
  return [own, ...below];
}

/** All that discovery tells, from what is served at the moment. */
export class Discovery {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** `v1`, `bitnami.com/v1alpha1` and so on. */
  #groupVersions(): string[] {
    return [...new Set([...this.#registry.all().map(apiVersionOf), ...Object.keys(reviews)])];
  }

  #groups(): Map<string, string[]> {
    const groups = new Map<string, string[]>();
    for (const groupVersion of this.#groupVersions()) {
      const [group = "", version] = groupVersion.split("/");
      if (version !== undefined) groups.set(group, [...(groups.get(group) ?? []), version]);
    }
    return groups;
  }

  /** `/api` */
  coreVersions(): JsonObject {
    return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] };
  }

  /** `/apis` */
  groupList(): JsonObject {
    const groups = [...this.#groups().keys()].map((group) =>
      without(this.group(group) ?? {}, "kind", "apiVersion"),
    );
    return { kind: "APIGroupList", apiVersion: "v1", groups };
  }

  /** `/apis/GROUP` */
  group(name: string): JsonObject | undefined {
    const versions = this.#groups()
      .get(name)
      ?.map((version) => ({ groupVersion: `${name}/${version}`, version }));
    const [preferredVersion] = versions ?? [];
    if (versions === undefined || preferredVersion === undefined) return undefined;
    return { kind: "APIGroup", apiVersion: "v1", name, versions, preferredVersion };
  }

  /** `/api/v1`, `/apis/GROUP/VERSION` */
  resources(groupVersion: string): JsonObject | undefined {
    if (!this.#groupVersions().includes(groupVersion)) return undefined;
    const own = this.#registry.all().filter((resource) => apiVersionOf(resource) === groupVersion);
    const fixed = (reviews[groupVersion] ?? []).map((row) => ({
      name: row.name,
      singularName: row.kind.toLowerCase(),
      namespaced: false,
      kind: row.kind,
      verbs: [...row.verbs],
    }));
    const resources = [...own.flatMap(resourceList), ...fixed];
    return { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources };
  }

  /** `/api` and `/apis` in the aggregated form: everything in one answer. */
  aggregated(root: "api" | "apis"): JsonObject {
    const groups = root === "api" ? new Map([["", ["v1"]]]) : this.#groups();
    const items = [...groups].map(([name, versions]) => ({
      metadata: { name: name === "" ? null : name, creationTimestamp: null },
      versions: versions.map((version) => ({
        version,
        resources: this.#aggregatedResources(name === "" ? version : `${name}/${version}`),
        freshness: "Current",
      })),
    }));
    const plain = items.map((item) => (item.metadata.name === null ? { ...item, metadata: {} } : item));
    return {
      kind: "APIGroupDiscoveryList",
      apiVersion: "apidiscovery.k8s.io/v2",
      metadata: {},
      items: plain,
    };
  }

  #aggregatedResources(groupVersion: string): JsonObject[] {
    const [left = "", right] = groupVersion.split("/");
    const [group, version] = right === undefined ? ["", left] : [left, right];
    const own = this.#registry.all().filter((resource) => apiVersionOf(resource) === groupVersion);
    const fixed = (reviews[groupVersion] ?? []).map((row) => ({
      resource: row.name,
      responseKind: { group, version, kind: row.kind },
      scope: "Cluster",
      singularResource: row.kind.toLowerCase(),
      verbs: [...row.verbs],
    }));
    return [...own.map(aggregatedResource), ...fixed];
  }
}

function aggregatedResource(resource: Resource): JsonObject {
  const { group, version, kind } = resource;
  return {
    resource: resource.plural,
    responseKind: { group, version, kind },
    scope: resource.namespaced ? "Namespaced" : "Cluster",
    singularResource: resource.singular,
    verbs: [...resource.verbs],
    ...(resource.shortNames.length > 0 ? { shortNames: [...resource.shortNames] } : {}),
    ...(resource.categories.length > 0 ? { categories: [...resource.categories] } : {}),
    subresources: resource.subresources.map((name) => {
      const row = subresourceRow(resource, name);
      return {
        subresource: name,
        responseKind: { group: row.group ?? group, version: row.version ?? version, kind: row.kind },
        verbs: [...row.verbs],
      };
    }),
  };
}
