import { createHash } from "node:crypto";
import type { JsonObject } from "./objects.ts";
import { apiVersionOf, type Registry, type Resource } from "./resources.ts";

/** Path of a group and version below `/openapi/v3`. */
function documentPath(groupVersion: string): string {
  return groupVersion.includes("/") ? `apis/${groupVersion}` : `api/${groupVersion}`;
}

function schemaName(resource: Resource): string {
  const group = resource.group === "" ? "io.k8s.api.core" : resource.group.split(".").toReversed().join(".");
  return `${group}.${resource.version}.${resource.kind}`;
}

function schemaOf(resource: Resource): JsonObject {
  const { group, version, kind } = resource;
  const fallback: JsonObject = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  return {
    ...(resource.custom?.schema ?? fallback),
    "x-kubernetes-group-version-kind": [{ group, version, kind }],
  };
}

function query(name: string): JsonObject {
  return { name, in: "query", schema: { type: "string", uniqueItems: true } };
}

function pathsOf(resource: Resource): JsonObject {
  const { group, version, kind, plural, namespaced } = resource;
  const base = `/${documentPath(apiVersionOf(resource))}${namespaced ? "/namespaces/{namespace}" : ""}/${plural}`;
  const operation = (action: string): JsonObject => ({
    operationId: `${action}${kind}`,
    // kubectl asks here whether the server validates fields itself.
    parameters: [query("dryRun"), query("fieldManager"), query("fieldValidation")],
    responses: { 200: { description: "OK" } },
    "x-kubernetes-action": action,
    "x-kubernetes-group-version-kind": { group, version, kind },
  });
  return {
    [base]: { get: operation("list"), post: operation("post") },
    [`${base}/{name}`]: {
      get: operation("get"),
      put: operation("put"),
      patch: operation("patch"),
      delete: operation("delete"),
    },
  };
}

/** The OpenAPI documents: enough for kubectl's validation, apply and explain. */
export class OpenApi {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** `/openapi/v3` */
  index(): JsonObject {
    const versions = [...new Set(this.#registry.all().map(apiVersionOf))].map(documentPath);
    const urls = versions.map((path): [string, JsonObject] => {
      const hash = createHash("sha256")
        .update(JSON.stringify(this.document(path)))
        .digest("hex");
      return [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }];
    });
    return { paths: Object.fromEntries(urls) };
  }

  /** `/openapi/v3/apis/GROUP/VERSION` */
  document(path: string): JsonObject | undefined {
    const resources = this.#registry
      .all()
      .filter((resource) => documentPath(apiVersionOf(resource)) === path);
    if (resources.length === 0) return undefined;
    return {
      openapi: "3.0.0",
      info: { title: "Sealwright embedded API", version: "v1.34.4" },
      paths: Object.assign({}, ...resources.map(pathsOf)) as JsonObject,
      components: {
        schemas: Object.fromEntries(resources.map((entry) => [schemaName(entry), schemaOf(entry)])),
      },
    };
  }

  /** `/openapi/v2`, for older clients. */
  swagger(): JsonObject {
    const all = this.#registry.all();
    return {
      swagger: "2.0",
      info: { title: "Sealwright embedded API", version: "v1.34.4" },
      paths: Object.assign({}, ...all.map(pathsOf)) as JsonObject,
      definitions: Object.fromEntries(all.map((entry) => [schemaName(entry), schemaOf(entry)])),
    };
  }
}
