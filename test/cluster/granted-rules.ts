import { parseAllDocuments } from "yaml";

/** A Kubernetes object as `kubectl kustomize` prints it. */
export interface Manifest {
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  [field: string]: unknown;
}

/** One thing that an account may do. Names as in a controller's request record. */
export interface GrantedRule {
  verb: string;
  /** The plural, and the subresource after a slash. */
  resource: string;
  /** Empty for the core group. */
  group: string;
  /** `undefined`: in every namespace. */
  namespace: string | undefined;
}

interface PolicyRule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

interface Binding extends Manifest {
  roleRef: { kind: string; name: string };
  subjects: { kind: string; name: string; namespace?: string }[];
}

/** The objects of a YAML stream. */
export function parseManifests(yaml: string): Manifest[] {
  return parseAllDocuments(yaml).map((document) => document.toJS() as Manifest);
}

/** Everything that the bindings among `manifests` let a service account do, one row for each verb and resource. */
export function grantedRules(manifests: readonly Manifest[], serviceAccount: string): GrantedRule[] {
  return manifests
    .filter((object): object is Binding => object.kind.endsWith("RoleBinding"))
    .filter(({ subjects }) =>
      subjects.some(({ kind, name }) => kind === "ServiceAccount" && name === serviceAccount),
    )
    .flatMap((binding) =>
      rulesOf(manifests, binding).flatMap((rule) => rows(rule, binding.metadata.namespace)),
    );
}

function rulesOf(manifests: readonly Manifest[], { roleRef, metadata }: Binding): PolicyRule[] {
  const role = manifests.find(
    (object) =>
      object.kind === roleRef.kind &&
      object.metadata.name === roleRef.name &&
      (roleRef.kind === "ClusterRole" || object.metadata.namespace === metadata.namespace),
  );
  if (role === undefined)
    throw new Error(`${metadata.name} binds ${roleRef.kind} ${roleRef.name}, which is not there`);
  return role["rules"] as PolicyRule[];
}

function rows({ apiGroups, resources, verbs }: PolicyRule, namespace: string | undefined): GrantedRule[] {
  return apiGroups.flatMap((group) =>
    resources.flatMap((resource) => verbs.map((verb) => ({ verb, resource, group, namespace }))),
  );
}
