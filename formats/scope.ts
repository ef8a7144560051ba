import { SecretError } from "./errors.ts";
import type { Metadata } from "./secret.ts";

/** Prefix of every Sealed Secrets annotation and label. */
export const annotationPrefix = "sealedsecrets.bitnami.com/";

/** Where a sealed item may be opened: under its own name, anywhere in its namespace, or anywhere in the cluster. */
export type Scope = "strict" | "namespace-wide" | "cluster-wide";

/** All scopes, narrowest first. */
export const scopes = ["strict", "namespace-wide", "cluster-wide"] as const satisfies readonly Scope[];

const scopeAnnotations = {
  "namespace-wide": `${annotationPrefix}namespace-wide`,
  "cluster-wide": `${annotationPrefix}cluster-wide`,
} as const;

/** Anything that carries annotations. */
export interface Annotated {
  annotations?: Record<string, string> | undefined;
}

/** Whether an annotation of the Sealed Secrets family is set; only the exact text `true` counts. */
export function isAnnotated(metadata: Annotated, name: string): boolean {
  return metadata.annotations?.[`${annotationPrefix}${name}`] === "true";
}

/** The scope that an object's own annotations declare; cluster-wide wins where both are set. */
export function scopeOf(metadata: Annotated): Scope {
  if (isAnnotated(metadata, "cluster-wide")) return "cluster-wide";
  return isAnnotated(metadata, "namespace-wide") ? "namespace-wide" : "strict";
}

/** The annotations with their scope replaced. Other annotations are kept, in order. */
export function withScope(
  annotations: Record<string, string> | undefined,
  scope: Scope,
): Record<string, string> {
  const others = Object.entries(annotations ?? {}).filter(
    ([name]) => !(Object.values(scopeAnnotations) as string[]).includes(name),
  );
  const own = scope === "strict" ? [] : [[scopeAnnotations[scope], "true"] as const];
  return Object.fromEntries([...others, ...own]);
}

/** The place that an item is sealed for. */
export interface Target {
  scope: Scope;
  namespace?: string | undefined;
  name?: string | undefined;
}

/** The target of an object, from its own metadata alone: never from a template's. */
export function targetOf(metadata: Metadata): Target {
  return { scope: scopeOf(metadata), namespace: metadata.namespace, name: metadata.name };
}

/**
 * The OAEP label that binds an item to its target.
 * @throws SecretError `InvalidSecret` where the scope needs a namespace or a name that is missing
 * @see docs/formats/sealed-secret.md, section "Scope"
 */
export function encryptionLabel({ scope, namespace, name }: Target): Uint8Array {
  if (scope === "cluster-wide") return new Uint8Array();
  if (namespace === undefined || namespace === "") {
    throw new SecretError("InvalidSecret", "secret must declare a namespace", {
      hint: "set metadata.namespace, pass --namespace, or seal with --scope cluster-wide",
    });
  }
  if (scope === "namespace-wide") return Buffer.from(namespace);
  if (name === undefined || name === "") {
    throw new SecretError("InvalidSecret", "missing metadata.name in input Secret", {
      hint: "set metadata.name, pass --name, or seal with a wider --scope",
    });
  }
  return Buffer.from(`${namespace}/${name}`);
}
