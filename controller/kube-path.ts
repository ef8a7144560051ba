import { SecretError } from "../formats/errors.ts";
import type { ListOptions, Selection, WatchOptions } from "./kube-api.ts";
import { type Call, describe } from "./kube-error.ts";

/** `/apis/<group>/<version>/namespaces/<namespace>/<plural>/<name>/<subresource>`, as much of it as the call names. */
export function pathOf(call: Call): string {
  const { group, version, plural, namespaced } = call.resource;
  const { namespace, name } = call.ref;
  const whole = call.verb === "list" || call.verb === "watch";
  if (namespaced && !whole && (namespace === undefined || namespace === "")) {
    throw new SecretError("Internal", `${describe(call)}: no namespace given`);
  }
  if (name === "." || name === ".." || namespace === "." || namespace === "..") {
    throw new SecretError("Internal", `${describe(call)}: not a name`);
  }
  const root = group === "" ? ["api", version] : ["apis", group, version];
  const place = namespaced && namespace !== undefined && namespace !== "" ? ["namespaces", namespace] : [];
  const segments = [...root, ...place, plural, name, call.subresource];
  return segments.map((segment) => (segment === undefined ? "" : `/${encodeURIComponent(segment)}`)).join("");
}

/** The query of a list, with its question mark. */
export function listQuery(options: ListOptions): string {
  return query({ ...selectors(options), limit: options.limit, continue: options.continue });
}

/** The query of a watch, with its question mark. */
export function watchQuery(options: WatchOptions): string {
  return query({
    ...selectors(options),
    watch: true,
    allowWatchBookmarks: true,
    resourceVersion: options.resourceVersion,
    timeoutSeconds: options.timeoutSeconds,
  });
}

function selectors(selection: Selection): Record<string, string | undefined> {
  return { labelSelector: selection.labelSelector, fieldSelector: selection.fieldSelector };
}

function query(parameters: Record<string, string | number | boolean | undefined>): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== "") given.set(name, String(value));
  }
  const text = given.toString();
  return text === "" ? "" : `?${text}`;
}
