import { invalidValue, required } from "./field-errors.ts";
import {
  field,
  finalizersOf,
  metadataOf,
  nameOf,
  objectAt,
  objectsAt,
  textAt,
  textsAt,
  withMetadata,
  type JsonObject,
} from "./objects.ts";
import type { Column, Registry, Resource } from "./resources.ts";
import type { Cause } from "./status.ts";

/** In the order that discovery prints for custom resources. */
const customVerbs = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/** Keeps a deleted definition until its objects are gone. */
export const cleanupFinalizer = "customresourcecleanup.apiextensions.k8s.io";

/** A CustomResourceDefinition with the defaults of the API server. */
export function normaliseDefinition(object: JsonObject): JsonObject {
  const spec = objectAt(object, "spec") ?? {};
  const names = objectAt(spec, "names") ?? {};
  const kind = textAt(names, "kind") ?? "";
  return {
    ...object,
    spec: {
      conversion: { strategy: "None" },
      ...spec,
      names: { listKind: `${kind}List`, singular: kind.toLowerCase(), ...names },
    },
  };
}

/** The conditions and names that the API server sets once a definition is served. */
export function established(object: JsonObject, now: string): JsonObject {
  const spec = objectAt(object, "spec");
  const names = objectAt(spec, "names") ?? {};
  const stored = objectsAt(spec, "versions").find((version) => version["storage"] === true);
  const condition = (type: string, reason: string, message: string): JsonObject => ({
    lastTransitionTime: now,
    message,
    reason,
    status: "True",
    type,
  });
  const finalizers = [...new Set([...finalizersOf(object), cleanupFinalizer])];
  return {
    ...withMetadata(object, { finalizers }),
    status: {
      acceptedNames: names,
      conditions: [
        condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
      ],
      storedVersions: [textAt(stored, "name") ?? ""],
    },
  };
}

/** What is wrong with a CustomResourceDefinition. */
export function definitionErrors(object: JsonObject): Cause[] {
  const spec = objectAt(object, "spec");
  const plural = textAt(objectAt(spec, "names"), "plural") ?? "";
  const group = textAt(spec, "group") ?? "";
  const errors: Cause[] = [];
  if (group === "") errors.push(required("spec.group"));
  if (plural === "") errors.push(required("spec.names.plural"));
  if (nameOf(object) !== `${plural}.${group}`) {
    errors.push(invalidValue("metadata.name", nameOf(object), 'must be spec.names.plural+"."+spec.group'));
  }
  const versions = objectsAt(spec, "versions");
  if (versions.filter((version) => version["storage"] === true).length !== 1) {
    errors.push(
      invalidValue(
        "spec.versions",
        versions.map((version) => version["name"]),
        "must have exactly one version marked as storage version",
      ),
    );
  }
  versions.forEach((version, index) => {
    if (objectAt(objectAt(version, "schema"), "openAPIV3Schema") === undefined) {
      errors.push(required(`spec.versions[${index}].schema.openAPIV3Schema`, "schemas are required"));
    }
  });
  return errors;
}

function columnsOf(version: JsonObject): (Column & { jsonPath: string })[] {
  return objectsAt(version, "additionalPrinterColumns").map((column) => ({
    name: textAt(column, "name") ?? "",
    type: textAt(column, "type") ?? "string",
    format: textAt(column, "format") ?? "",
    description: textAt(column, "description") ?? "",
    priority: typeof column["priority"] === "number" ? column["priority"] : 0,
    jsonPath: textAt(column, "jsonPath") ?? "",
  }));
}

/** The resources that a CustomResourceDefinition serves, one per served version. */
export function resourcesOf(definition: JsonObject): Resource[] {
  const spec = objectAt(definition, "spec");
  const names = objectAt(spec, "names");
  const group = textAt(spec, "group") ?? "";
  const plural = textAt(names, "plural") ?? "";
  const kind = textAt(names, "kind") ?? "";
  const served = objectsAt(spec, "versions").filter((version) => version["served"] === true);
  return served.map((version) => {
    const status = field(objectAt(version, "subresources"), "status") !== undefined;
    return {
      group,
      version: textAt(version, "name") ?? "",
      plural,
      singular: textAt(names, "singular") ?? kind.toLowerCase(),
      kind,
      listKind: textAt(names, "listKind") ?? `${kind}List`,
      namespaced: textAt(spec, "scope") === "Namespaced",
      shortNames: textsAt(names, "shortNames"),
      categories: textsAt(names, "categories"),
      verbs: customVerbs,
      subresources: status ? ["status"] : [],
      storage: `${group}/${plural}`,
      custom: {
        schema: objectAt(objectAt(version, "schema"), "openAPIV3Schema"),
        columns: columnsOf(version),
        status,
        definition: nameOf(definition),
      },
    };
  });
}

/** Serves what a definition describes, in place of what it described before. */
export function serveDefinition(registry: Registry, definition: JsonObject): void {
  registry.removeDefinition(nameOf(definition));
  for (const resource of resourcesOf(definition)) registry.add(resource);
}

/** Whether a definition's objects may still be created. */
export function isServed(definition: JsonObject): boolean {
  return textAt(metadataOf(definition), "deletionTimestamp") === undefined;
}
