import type { IncomingMessage, ServerResponse } from "node:http";
import { mediaType, parseBody, parseObject, readBody } from "./bodies.ts";
import { isObject, objectAt, textAt, uidOf, nameOf, type JsonObject } from "./objects.ts";
import { required } from "./field-errors.ts";
import { listPage, selectorOf } from "./lists.ts";
import { jsonPatch, mergePatch, patchTypes, strategicPatch } from "./patch.ts";
import { encodeList, encodeObject, negotiate, present, received } from "./representations.ts";
import { apiVersionOf, type Registry, type Resource } from "./resources.ts";
import { requestToken, review } from "./reviews.ts";
import type { ResourcePath } from "./routes.ts";
import { forward, serviceName, type ProxyTargets } from "./service-proxy.ts";
import {
  badRequest,
  forbidden,
  invalid,
  methodNotAllowed,
  noSuchPath,
  pageNotFound,
  unsupportedMedia,
} from "./status.ts";
import { keyOf, type Store } from "./store.ts";
import type { Tokens } from "./tokens.ts";
import type { Watches } from "./watch.ts";
import type { DeleteOptions, Target, WriteOptions } from "./write-rules.ts";
import type { Writer } from "./writes.ts";

/** One request below /api/v1 or /apis/GROUP/VERSION. */
export interface ApiRequest {
  incoming: IncomingMessage;
  response: ServerResponse;
  path: ResourcePath;
  query: URLSearchParams;
}

/** What requests work on. */
export interface Parts {
  store: Store;
  registry: Registry;
  writer: Writer;
  watches: Watches;
  tokens: Tokens;
  proxyTargets: ProxyTargets;
  now: () => Date;
}

/** An answer that is not streamed. */
export interface Answer {
  code: number;
  /** JSON text. */
  text: string;
  warnings?: readonly string[];
}

/** Answers requests for resources. */
export class ResourceRequests {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Undefined if the answer was streamed. @throws StatusError */
  async answer(request: ApiRequest): Promise<Answer | undefined> {
    const { path, incoming } = request;
    const resource = this.#parts.registry.find(path.apiVersion, path.plural);
    if (resource === undefined) return await this.#review(request);
    if (path.namespace !== undefined && !resource.namespaced) throw noSuchPath();
    if (path.subresource === "proxy") {
      await this.#proxy(request);
      return undefined;
    }
    if (path.subresource !== undefined && !resource.subresources.includes(path.subresource))
      throw noSuchPath();
    if (path.rest !== "") throw noSuchPath();
    const watched = /^(true|1)$/.test(request.query.get("watch") ?? "");
    if (incoming.method === "GET" && path.subresource === undefined && (path.name === undefined || watched)) {
      if (!watched) return this.#list(resource, request);
      await this.#watch(resource, request);
      return undefined;
    }
    if (path.name === undefined) return await this.#collection(resource, request);
    return await this.#object(resource, request);
  }

  #target(resource: Resource, { path }: ApiRequest): Target {
    if (resource.namespaced && path.namespace === undefined) throw methodNotAllowed();
    return { resource, namespace: path.namespace, name: path.name ?? "", subresource: path.subresource };
  }

  #list(resource: Resource, { path, query, incoming }: ApiRequest): Answer {
    const select = selectorOf(resource, query);
    const page = listPage(this.#parts.store, { resource, namespace: path.namespace, select }, query);
    return { code: 200, text: encodeList(resource, page, negotiate(incoming.headers.accept, query)) };
  }

  async #watch(resource: Resource, { path, query, incoming, response }: ApiRequest): Promise<void> {
    const select = selectorOf(resource, query, path.name);
    const wanted = negotiate(incoming.headers.accept, query);
    await this.#parts.watches.serve({ resource, namespace: path.namespace, select, wanted, query }, response);
  }

  async #collection(resource: Resource, request: ApiRequest): Promise<Answer> {
    if (request.incoming.method === "DELETE") return await this.#deleteCollection(resource, request);
    if (request.incoming.method !== "POST") throw methodNotAllowed();
    const body = received(
      resource,
      parseObject(await readBody(request.incoming), mediaType(request.incoming)),
    );
    const options = writeOptions(request);
    const created = this.#parts.writer.create(this.#target(resource, request), body, options);
    return this.#shown(resource, request, { code: 201, object: created, warnings: options.warnings });
  }

  async #object(resource: Resource, request: ApiRequest): Promise<Answer> {
    const target = this.#target(resource, request);
    const options = writeOptions(request);
    const { warnings } = options;
    switch (request.incoming.method) {
      case "GET":
        return this.#shown(resource, request, {
          code: 200,
          object: this.#parts.writer.get(target),
          warnings,
        });
      case "PUT": {
        const body = received(
          resource,
          parseObject(await readBody(request.incoming), mediaType(request.incoming)),
        );
        return this.#shown(resource, request, {
          code: 200,
          object: this.#parts.writer.update(target, body, options),
          warnings,
        });
      }
      case "PATCH":
        return await this.#patch(target, request, options);
      case "DELETE":
        if (target.subresource !== undefined) throw methodNotAllowed();
        return await this.#delete(target, request);
      case "POST":
        if (target.subresource === "token") return await this.#token(target, request);
        throw methodNotAllowed();
      default:
        throw methodNotAllowed();
    }
  }

  #shown(
    resource: Resource,
    { incoming, query }: ApiRequest,
    { code, object, warnings }: { code: number; object: JsonObject; warnings: readonly string[] },
  ): Answer {
    return {
      code,
      text: encodeObject(resource, object, negotiate(incoming.headers.accept, query)),
      warnings,
    };
  }

  async #patch(target: Target, request: ApiRequest, options: WriteOptions): Promise<Answer> {
    const { resource } = target;
    const { writer, store } = this.#parts;
    const type = mediaType(request.incoming);
    const body = await readBody(request.incoming);
    const { warnings } = options;
    if (type === patchTypes.apply) {
      const intent = parseBody(body, "yaml");
      if (!isObject(intent)) throw badRequest("the body is not an object");
      if (request.query.get("fieldManager") === null) {
        throw invalid({ group: "meta.k8s.io", plural: "", kind: "PatchOptions" }, "", [
          required("fieldManager", "is required for apply patch"),
        ]);
      }
      const existed = store.get(resource.storage, keyOf(target.namespace, target.name)) !== undefined;
      const force = request.query.get("force") === "true";
      const object = writer.apply(target, received(resource, intent), { ...options, force });
      return this.#shown(resource, request, { code: existed ? 200 : 201, object, warnings });
    }
    checkPatchType(resource, type);
    const change = patchOf(resource, type, parseBody(body, "json"));
    const object = writer.patch(target, change, options);
    return this.#shown(resource, request, { code: 200, object, warnings });
  }

  async #delete(target: Target, request: ApiRequest): Promise<Answer> {
    const { resource, name } = target;
    const options = deleteOptions(await readBody(request.incoming), request);
    if (resource.kind === "Namespace" && ["default", "kube-system", "kube-public"].includes(name)) {
      throw forbidden(resource, name, { why: "this namespace may not be deleted" });
    }
    const { object, gone } = this.#parts.writer.remove(target, options);
    if (!gone || ["Namespace", "Pod", "Service", "ServiceAccount"].includes(resource.kind)) {
      return this.#shown(resource, request, { code: 200, object, warnings: [] });
    }
    const details: JsonObject = {
      name: nameOf(object),
      ...(resource.group === "" ? {} : { group: resource.group }),
      kind: resource.plural,
      uid: uidOf(object),
    };
    const status = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details };
    return { code: 200, text: JSON.stringify(status) };
  }

  async #deleteCollection(resource: Resource, request: ApiRequest): Promise<Answer> {
    const { namespace } = this.#target(resource, request);
    const options = deleteOptions(await readBody(request.incoming), request);
    const select = selectorOf(resource, request.query);
    const page = listPage(this.#parts.store, { resource, namespace, select }, request.query);
    for (const object of page.objects) {
      this.#parts.writer.remove({ resource, namespace, name: nameOf(object) }, options);
    }
    return {
      code: 200,
      text: encodeList(resource, page, negotiate(request.incoming.headers.accept, request.query)),
    };
  }

  async #token(target: Target, { incoming }: ApiRequest): Promise<Answer> {
    const account = this.#parts.writer.get(target);
    const body = parseObject(await readBody(incoming), mediaType(incoming));
    const { tokens, now } = this.#parts;
    return { code: 201, text: JSON.stringify(requestToken(account, body, { tokens, now: now() })) };
  }

  async #review({ path, incoming }: ApiRequest): Promise<Answer> {
    const known = /^(authentication|authorization)\.k8s\.io\/v1$/.test(path.apiVersion);
    if (!known || path.name !== undefined) {
      const group = this.#parts.registry.all().some((entry) => apiVersionOf(entry) === path.apiVersion);
      throw group || known ? noSuchPath() : pageNotFound();
    }
    if (incoming.method !== "POST") throw methodNotAllowed();
    const body = parseObject(await readBody(incoming), mediaType(incoming));
    const answer = review(path.plural, body, this.#parts.tokens);
    if (answer === undefined) throw noSuchPath();
    return { code: 201, text: JSON.stringify(answer) };
  }

  async #proxy({ path, incoming, response, query }: ApiRequest): Promise<void> {
    if (path.plural !== "services" || path.name === undefined || path.namespace === undefined)
      throw noSuchPath();
    const { store, proxyTargets } = this.#parts;
    const namespace = path.namespace;
    serviceName(path.name, (name) => store.get("/services", keyOf(namespace, name)) !== undefined);
    const target = proxyTargets.find(namespace, path.name);
    const below = path.rest.split("/").map(encodeURIComponent).join("/");
    const suffix = query.size > 0 ? `?${query.toString()}` : "";
    await forward(target, { incoming, path: `/${below}${suffix}`, body: await readBody(incoming) }, response);
  }
}

function patchOf(
  resource: Resource,
  type: string,
  patch: unknown,
): (existing: JsonObject) => ReturnType<typeof mergePatch> {
  const shown = (existing: JsonObject): JsonObject => present(resource, existing);
  if (type === patchTypes.json) return (existing) => jsonPatch(shown(existing), patch as never);
  if (!isObject(patch)) throw badRequest("the patch is not an object");
  if (type === patchTypes.merge) return (existing) => mergePatch(shown(existing), patch);
  return (existing) => strategicPatch(shown(existing), patch);
}

/** Custom resources have no strategic merge patch. */
function checkPatchType(resource: Resource, type: string): void {
  const { json, merge, strategic, apply } = patchTypes;
  const accepted: string[] =
    resource.custom === undefined ? [json, merge, strategic, apply] : [json, merge, apply];
  if (!accepted.includes(type)) throw unsupportedMedia(accepted);
}

function writeOptions({ query, incoming }: ApiRequest): WriteOptions {
  const validation = query.get("fieldValidation");
  const agent = incoming.headers["user-agent"] ?? "unknown";
  return {
    manager: query.get("fieldManager") ?? (agent.split("/")[0] ?? "").slice(0, 128),
    dryRun: query.getAll("dryRun").includes("All"),
    fieldValidation: validation === "Strict" || validation === "Ignore" ? validation : "Warn",
    warnings: [],
  };
}

function deleteOptions(body: Buffer, { query, incoming }: ApiRequest): DeleteOptions {
  const sent = body.length === 0 ? {} : parseBody(body, mediaType(incoming));
  const options = isObject(sent) ? sent : {};
  const preconditions = objectAt(options, "preconditions");
  const propagation = textAt(options, "propagationPolicy") ?? query.get("propagationPolicy") ?? "Background";
  if (propagation !== "Orphan" && propagation !== "Background" && propagation !== "Foreground") {
    throw badRequest(`invalid propagationPolicy "${propagation}"`);
  }
  const dryRun = Array.isArray(options["dryRun"]) ? options["dryRun"] : query.getAll("dryRun");
  return {
    uid: textAt(preconditions, "uid"),
    resourceVersion: textAt(preconditions, "resourceVersion"),
    propagation,
    dryRun: dryRun.includes("All"),
  };
}
