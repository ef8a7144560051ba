import { noSuchPath } from "./status.ts";

/** A path below /api/v1 or /apis/GROUP/VERSION. */
export interface ResourcePath {
  /** `v1` or `bitnami.com/v1alpha1`. */
  apiVersion: string;
  namespace: string | undefined;
  plural: string;
  name: string | undefined;
  subresource: string | undefined;
  /** What follows the subresource, decoded; only service proxies have it. */
  rest: string;
}

function split(path: string): string[] {
  const segments = path.split("/").slice(1);
  if (segments.at(-1) === "") segments.pop();
  try {
    return segments.map(decodeURIComponent);
  } catch {
    throw noSuchPath();
  }
}

/** The resource path, or undefined if the path is one of discovery and the like. @throws 404 for malformed escapes */
export function parseResourcePath(path: string): ResourcePath | undefined {
  const segments = split(path);
  const [root, ...others] = segments;
  if (root !== "api" && root !== "apis") return undefined;
  const depth = root === "api" ? 1 : 2;
  if (others.length <= depth) return undefined;
  const apiVersion = others.slice(0, depth).join("/");
  const below = others.slice(depth);
  // /namespaces/NS alone, or with its own subresources, is the namespace itself.
  const [first, namespace, plural = ""] = below;
  const inside = first === "namespaces" && below.length >= 3 && !["status", "finalize"].includes(plural);
  const [resource = "", name, subresource, ...rest] = inside ? below.slice(2) : below;
  return {
    apiVersion,
    namespace: inside ? namespace : undefined,
    plural: resource,
    name,
    subresource,
    rest: rest.join("/"),
  };
}
