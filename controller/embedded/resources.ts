import type { JsonObject } from "./objects.ts";

/** A column that `kubectl get` prints. */
export interface Column {
  name: string;
  type: string;
  format: string;
  description: string;
  /** 0 always shown, above that only with `-o wide`. */
  priority: number;
}

/** What only resources made by a CustomResourceDefinition have. */
export interface CustomRules {
  /** Structural schema of the version. */
  schema: JsonObject | undefined;
  /** `additionalPrinterColumns`. */
  columns: readonly (Column & { jsonPath: string })[];
  /** Whether `/status` is a subresource, apart from the rest of the object. */
  status: boolean;
  /** Name of the definition. */
  definition: string;
}

/** One served resource of one group and version. */
export interface Resource {
  /** Empty for the core group. */
  group: string;
  version: string;
  plural: string;
  singular: string;
  kind: string;
  listKind: string;
  namespaced: boolean;
  shortNames: readonly string[];
  categories: readonly string[];
  verbs: readonly string[];
  /** Served under the object's path, such as `status`. */
  subresources: readonly string[];
  /** Versions of one resource share their storage. */
  storage: string;
  custom?: CustomRules;
}

/** `v1`, `bitnami.com/v1alpha1`. */
export function apiVersionOf(resource: Pick<Resource, "group" | "version">): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

/** Verbs of an ordinary resource, in the order that discovery prints. */
export const allVerbs = [
  "create",
  "delete",
  "deletecollection",
  "get",
  "list",
  "patch",
  "update",
  "watch",
] as const;

type Row = [group: string, version: string, plural: string, kind: string, more?: Partial<Resource>];

const cluster = { namespaced: false };
const rows: Row[] = [
  ["", "v1", "configmaps", "ConfigMap", { shortNames: ["cm"] }],
  ["", "v1", "endpoints", "Endpoints", { shortNames: ["ep"], listKind: "EndpointsList" }],
  ["", "v1", "events", "Event", { shortNames: ["ev"] }],
  [
    "",
    "v1",
    "namespaces",
    "Namespace",
    { ...cluster, shortNames: ["ns"], subresources: ["finalize", "status"] },
  ],
  ["", "v1", "pods", "Pod", { shortNames: ["po"], categories: ["all"], subresources: ["status"] }],
  ["", "v1", "secrets", "Secret"],
  ["", "v1", "serviceaccounts", "ServiceAccount", { shortNames: ["sa"], subresources: ["token"] }],
  [
    "",
    "v1",
    "services",
    "Service",
    { shortNames: ["svc"], categories: ["all"], subresources: ["proxy", "status"] },
  ],
  [
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    {
      ...cluster,
      shortNames: ["crd", "crds"],
      categories: ["api-extensions"],
      subresources: ["status"],
    },
  ],
  ["coordination.k8s.io", "v1", "leases", "Lease"],
  ["events.k8s.io", "v1", "events", "Event", { shortNames: ["ev"], storage: "/events" }],
];

function builtIn([group, version, plural, kind, more]: Row): Resource {
  return {
    group,
    version,
    plural,
    singular: kind.toLowerCase(),
    kind,
    listKind: `${kind}List`,
    namespaced: true,
    shortNames: [],
    categories: [],
    verbs: allVerbs,
    subresources: [],
    storage: `${group}/${plural}`,
    ...more,
  };
}

/** All that is served: the built-in resources and those that CustomResourceDefinitions add. */
export class Registry {
  readonly #resources = new Map<string, Resource>();

  constructor() {
    for (const row of rows) this.add(builtIn(row));
  }

  /** Serves a resource from now on, or replaces it. */
  add(resource: Resource): void {
    this.#resources.set(`${apiVersionOf(resource)}/${resource.plural}`, resource);
  }

  /** Stops serving all versions that a CustomResourceDefinition made. */
  removeDefinition(definition: string): void {
    for (const [key, resource] of this.#resources) {
      if (resource.custom?.definition === definition) this.#resources.delete(key);
    }
  }

  /** The resource of a path, if served. */
  find(apiVersion: string, plural: string): Resource | undefined {
    return this.#resources.get(`${apiVersion}/${plural}`);
  }

  /** The resource of an object or an owner reference, if served. */
  ofKind(apiVersion: string, kind: string): Resource | undefined {
    return this.all().find((entry) => entry.kind === kind && apiVersionOf(entry) === apiVersion);
  }

  /** Any version of what is kept under a storage name. */
  ofStorage(storage: string): Resource | undefined {
    return this.all().find((entry) => entry.storage === storage);
  }

  /** Everything served, in a stable order. */
  all(): Resource[] {
    return [...this.#resources.values()];
  }

  /** One resource of each storage, so that versions are not visited twice. */
  stored(): Resource[] {
    return [...new Map(this.all().map((entry) => [entry.storage, entry])).values()];
  }
}
