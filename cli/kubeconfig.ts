import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { SecretError } from "../formats/errors.ts";
import { isObject, readManifests, type JsonObject } from "../formats/manifest.ts";
import type { Flags } from "./flags.ts";

/** The words that client-go has for it, which people know and search for. */
export const noConfiguration =
  "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable";

const serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/** The kubeconfig files that hold, as kubectl finds them: the flag's, else those of `KUBECONFIG` that exist, else the home's. */
export function kubeconfigPaths(flags: Flags): string[] {
  if (flags.kubeconfig !== undefined) return [flags.kubeconfig];
  const listed = (process.env["KUBECONFIG"] ?? "").split(delimiter).filter((path) => path !== "");
  const paths = listed.length > 0 ? listed : [join(homedir(), ".kube", "config")];
  return paths.filter((path) => existsSync(path));
}

/**
 * The namespace that commands mean where none is named: the context's, or `default`. Read without the Kubernetes client, which
 * takes ten times as long to load as sealing takes.
 * @returns `undefined` where there is neither a kubeconfig nor a pod's account
 * @throws SecretError `FileUnusable` for a kubeconfig that cannot be read
 */
export function contextNamespace(flags: Flags): string | undefined {
  const paths = kubeconfigPaths(flags);
  if (paths.length === 0) {
    if (existsSync(serviceAccountNamespace)) return readFileSync(serviceAccountNamespace, "utf8").trim();
    return flags.server === undefined ? undefined : "default";
  }
  const configs = paths.flatMap(readConfig);
  const current =
    flags.context ?? configs.map((config) => text(config["current-context"])).find((name) => name !== "");
  const contexts = configs.flatMap(({ contexts }) =>
    Array.isArray(contexts) ? (contexts as unknown[]) : [],
  );
  const context = contexts.find((entry) => isObject(entry) && entry["name"] === current);
  const details = isObject(context) && isObject(context["context"]) ? context["context"] : {};
  return text(details["namespace"]) || "default";
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function readConfig(path: string): JsonObject[] {
  try {
    return readManifests(readFileSync(path)).map(({ object }) => object);
  } catch (cause) {
    throw new SecretError("FileUnusable", `kubeconfig ${path} cannot be read`, {
      cause,
      hint: "check the file with `kubectl config view`, or name the namespace with -n",
    });
  }
}
