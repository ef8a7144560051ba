import { isScalar, parseAllDocuments, visit, type Document, type Scalar } from "yaml";
import { SecretError } from "./errors.ts";
import { kubernetesTags, stringifyYaml } from "./yaml-dialect.ts";

/** A JSON object as read from a manifest. */
export type JsonObject = Record<string, unknown>;

/** Keys and indexes from a document's root to a value in it. */
export type Path = readonly (string | number)[];

/** Where in a file a manifest stands: the index of its document, and the path to it where that is a List. */
export interface Location {
  document: number;
  path: Path;
}

/** One document of a manifest file. */
export interface Manifest {
  /** The document's value; YAML 1.1 rules, as every Kubernetes tool reads it. */
  object: JsonObject;
  /** "document 2" or "item 3 of the List in document 1": names the place in messages. */
  place: string;
  /** `undefined` for an object that no file holds. */
  location?: Location;
  /**
   * The scalars' own text at the same paths, before YAML 1.1 made booleans and numbers of them; `undefined` for JSON, where
   * the type is explicit.
   */
  sourceText?: () => unknown;
}

const maxDepth = 100;
const yamlOptions = {
  version: "1.1",
  customTags: kubernetesTags,
  merge: true,
  strict: true,
  uniqueKeys: false,
  stringKeys: true,
} as const;
/** `yaml` counts each alias' expansion; a bomb stops here, while no manifest has a hundred. */
const maxAliasCount = 100;

/**
 * Reads the manifests of a file: YAML of any number of documents, or JSON objects one after another. Lists are expanded,
 * empty documents skipped.
 * @throws SecretError `InvalidInput` for bytes that are not UTF-8, broken YAML or JSON, duplicate keys, or anything that is not an object
 */
export function readManifests(bytes: Uint8Array): Manifest[] {
  const text = decodeUtf8(bytes);
  return isJson(text) ? readJsonStream(text) : readYaml(text);
}

/** Whether a text starts as JSON does; the rule by which Kubernetes tools tell it from YAML. */
export function isJson(text: string): boolean {
  return /^\s*\{/.test(text);
}

/** Decodes UTF-8 strictly; a byte order mark is dropped. @throws SecretError `InvalidInput` */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    const hint = "save the file as UTF-8; binary values belong base64-encoded under `data`";
    throw new SecretError("InvalidInput", "the input is not valid UTF-8", { cause, hint });
  }
}

/**
 * Parses the documents of a YAML text, refusing what is broken; positions are given, the text is not.
 * @throws SecretError `InvalidInput`
 */
export function parseYaml(text: string): Document.Parsed[] {
  const documents = parseAllDocuments(text, yamlOptions);
  if (!Array.isArray(documents)) return [];
  for (const [index, document] of documents.entries()) {
    const place = `document ${index + 1}`;
    const [error] = document.errors;
    if (error !== undefined) refuseYaml(text, { place, at: error.pos[0], code: error.code });
    const repeated = repeatedKey(document);
    if (repeated !== undefined)
      refuseYaml(text, { place, at: repeated.range?.[0] ?? 0, code: "DUPLICATE_KEY" });
  }
  return documents;
}

function refuseYaml(text: string, { place, at, code }: { place: string; at: number; code: string }): never {
  const line = text.slice(0, at).split("\n").length;
  throw new SecretError("InvalidInput", `${place} is not valid YAML at line ${line} (${code})`, {
    hint: mendHint(text),
  });
}

/** The reader's own check compares each key with each other one: seconds for some thousand keys. */
function repeatedKey(document: Document.Parsed): Scalar | undefined {
  let repeated: Scalar | undefined;
  visit(document, {
    Map(_, { items }) {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) repeated = key;
        seen.add(key.value);
      }
      return repeated === undefined ? undefined : visit.BREAK;
    },
  });
  return repeated;
}

function mendHint(text: string): string {
  return text.includes("{{")
    ? "render the template first (`helm template`), then seal its output"
    : "mend the document; nothing was written";
}

/** Writes an object as a YAML document in the style of Kubernetes tools: sorted keys, long text on one line. */
export function toYaml(object: JsonObject): string {
  return stringifyYaml(object);
}

/**
 * Writes an object as Go's encoder does: two spaces, `<`, `>` and `&` escaped, a line end. Escaped are also the characters that
 * are no plain text in YAML, since Kubernetes tools read JSON as YAML.
 */
export function toJson(object: JsonObject): string {
  return (
    JSON.stringify(object, null, 2).replace(
      /[<>&\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g,
      escapeCharacter,
    ) + "\n"
  );
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function readYaml(text: string): Manifest[] {
  let sources: Document.Parsed[] | undefined;
  return parseYaml(text).flatMap((document, index) => {
    const place = `document ${index + 1}`;
    const value = plainValue(document, place);
    if (value === null || value === undefined) return [];
    let source: unknown;
    const sourceText = (): unknown =>
      (source ??= (sources ??= sourceDocuments(text))[index]?.toJS({ maxAliasCount }));
    const location = { document: index, path: [] };
    return expand({ object: requireObject(value, place), place, location, sourceText });
  });
}

function plainValue(document: Document.Parsed, place: string): unknown {
  try {
    return checkDepth(document.toJS({ maxAliasCount }), place);
  } catch (error) {
    if (error instanceof SecretError) throw error;
    throw new SecretError("InvalidInput", `${place} has too many or broken aliases`, { cause: error });
  }
}

/** Under the failsafe schema every scalar is its own text. */
function sourceDocuments(text: string): Document.Parsed[] {
  return parseAllDocuments(text, { ...yamlOptions, customTags: [], schema: "failsafe" });
}

function readJsonStream(text: string): Manifest[] {
  return jsonPieces(text).flatMap((piece, index) => {
    const place = `document ${index + 1}`;
    const object = requireObject(checkDepth(parseJson(piece, place), place), place);
    return expand({ object, place, location: { document: index, path: [] } });
  });
}

function parseJson(text: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SecretError("InvalidInput", `${place} is not valid JSON`, { cause, hint: mendHint(text) });
  }
}

/** The objects of a JSON text that holds several one after another, each as its own text. @throws SecretError `InvalidInput` */
export function jsonPieces(text: string): string[] {
  return splitJson(text.replace(/^---\r?$/gm, "")).map((piece) => piece.trim());
}

/**
 * Cuts concatenated JSON objects apart by counting braces outside strings. A repeated key is refused, as in YAML: `JSON.parse`
 * would drop the first value.
 */
function splitJson(text: string): string[] {
  const pieces: string[] = [];
  const open: Set<string>[] = [];
  const colon = /\s*:/y;
  let start = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') {
      const end = endOfString(text, at);
      colon.lastIndex = end + 1;
      if (colon.test(text)) addKey(open.at(-1), text.slice(at, end), `document ${pieces.length + 1}`);
      at = end;
    } else if (character === "{") open.push(new Set());
    else if (character === "}" && open.pop() !== undefined && open.length === 0) {
      pieces.push(text.slice(start, at + 1));
      start = at + 1;
    }
  }
  const rest = text.slice(start);
  return rest.trim() === "" ? pieces : [...pieces, rest];
}

function addKey(keys: Set<string> | undefined, key: string, place: string): void {
  if (keys?.has(key) === true) {
    throw new SecretError("InvalidInput", `${place} is not valid JSON (DUPLICATE_KEY)`, {
      hint: "keep one of the two values",
    });
  }
  keys?.add(key);
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === '"') return at;
  }
  return text.length;
}

function requireObject(value: unknown, place: string): JsonObject {
  if (isObject(value)) return value;
  throw new SecretError("InvalidInput", `${place} is not a Kubernetes object`, {
    hint: "each document must be a manifest",
  });
}

/** Whether a value is a JSON object: not null, not an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Lists of any kind (`List`, `SecretList`, ...) become their items; an item without a kind takes it from the list's. */
function expand(manifest: Manifest): Manifest[] {
  const { kind, apiVersion, items } = manifest.object;
  if (typeof kind !== "string" || !kind.endsWith("List") || !Array.isArray(items)) return [manifest];
  return items.flatMap((item: unknown, index) => {
    const place = `item ${index + 1} of the ${kind} in ${manifest.place}`;
    const itemKind = kind === "List" ? {} : { apiVersion, kind: kind.slice(0, -"List".length) };
    const { sourceText, location } = manifest;
    const object = { ...itemKind, ...requireObject(item, place) };
    const inner = {
      object,
      place,
      ...(location === undefined
        ? {}
        : { location: { ...location, path: [...location.path, "items", index] } }),
    };
    if (sourceText === undefined) return expand(inner);
    return expand({ ...inner, sourceText: () => childAt(childAt(sourceText(), "items"), index) });
  });
}

function childAt(value: unknown, key: string | number): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string | number, unknown>)[key]
    : undefined;
}

function checkDepth(value: unknown, place: string, depth = 0): unknown {
  if (depth > maxDepth)
    throw new SecretError("InvalidInput", `${place} is nested deeper than ${maxDepth} levels`);
  if (typeof value === "object" && value !== null) {
    for (const child of Object.values(value)) checkDepth(child, place, depth + 1);
  }
  return value;
}

/**
 * A string field as the user wrote it. An unquoted `5432` is the text `5432`; where YAML 1.1 would change the text (`yes` to
 * true, `0123` to 83), the value is refused, since the other tools would seal something else than what is seen.
 * @param path keys from the document's root
 * @returns `undefined` where the field is absent; the empty string where it is null
 * @throws SecretError `InvalidSecret`
 */
export function stringField(manifest: Manifest, path: readonly string[]): string | undefined {
  const value = path.reduce<unknown>(childAt, manifest.object);
  if (value === undefined || typeof value === "string") return value;
  if (value === null) return "";
  const source =
    manifest.sourceText === undefined ? undefined : path.reduce<unknown>(childAt, manifest.sourceText());
  if (typeof source === "string" && isPlain(value) && String(value) === source) return source;
  throw new SecretError("InvalidSecret", `${path.join(".")} in ${manifest.place} is not a string`, {
    hint: "quote the value: unquoted, YAML reads it as a boolean, a number or a date",
  });
}

/**
 * A boolean field.
 * @returns `undefined` where the field is absent or null
 * @throws SecretError `InvalidSecret`
 */
export function booleanField(manifest: Manifest, path: readonly string[]): boolean | undefined {
  const value = path.reduce<unknown>(childAt, manifest.object) ?? undefined;
  if (value === undefined || typeof value === "boolean") return value;
  throw new SecretError("InvalidSecret", `${path.join(".")} in ${manifest.place} is not true or false`, {
    hint: "write true or false, without quotes",
  });
}

function isPlain(value: unknown): value is string | number | boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

/**
 * A map of strings, each value by the rule of {@link stringField}.
 * @returns `undefined` where the field is absent or null
 * @throws SecretError `InvalidSecret`
 */
export function stringMapField(
  manifest: Manifest,
  path: readonly string[],
): Record<string, string> | undefined {
  const value = path.reduce<unknown>(childAt, manifest.object);
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) {
    throw new SecretError("InvalidSecret", `${path.join(".")} in ${manifest.place} is not a map`);
  }
  const entries = Object.keys(value).map(
    (key) => [key, stringField(manifest, [...path, key]) ?? ""] as const,
  );
  return Object.fromEntries(entries);
}
