import type { IncomingMessage } from "node:http";
import { parse } from "yaml";
import { isObject, type Json, type JsonObject } from "./objects.ts";
import { parseProtobuf } from "./protobuf.ts";
import { badRequest, tooLarge, unsupportedMedia } from "./status.ts";

const protobuf = "application/vnd.kubernetes.protobuf";

/** Largest request body, as kube-apiserver's. */
export const bodyLimit = 3 * 1024 * 1024;

/** Reads the whole body. @throws 413 */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > bodyLimit) throw tooLarge(bodyLimit);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bodyLimit) throw tooLarge(bodyLimit);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The media type without its parameters. */
export function mediaType(request: IncomingMessage): string {
  return (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}

/** JSON, or YAML or protobuf where the media type says so; the parser's text is not repeated, since it may quote a secret. @throws 400 */
export function parseBody(body: Buffer, type: string): Json {
  if (type === protobuf) return parseProtobuf(body);
  const text = new TextDecoder().decode(body);
  try {
    if (!type.includes("yaml")) return JSON.parse(text) as Json;
    return parse(text, { maxAliasCount: 100, schema: "core" }) as Json;
  } catch {
    throw badRequest("couldn't get version/kind; the body is not valid JSON or YAML");
  }
}

/** The object of a POST or PUT. @throws 400, 415 */
export function parseObject(body: Buffer, type: string): JsonObject {
  const accepted = ["application/json", "application/yaml", protobuf];
  if (type !== "" && !accepted.includes(type)) throw unsupportedMedia(accepted);
  const value = parseBody(body, type);
  if (!isObject(value)) throw badRequest("the body is not an object");
  return value;
}
