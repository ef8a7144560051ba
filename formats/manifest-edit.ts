import { isDeepStrictEqual } from "node:util";
import { isAlias, isMap, isScalar, isSeq, stringify, type Pair, type Scalar, type YAMLMap } from "yaml";
import { SecretError } from "./errors.ts";
import {
  decodeUtf8,
  isJson,
  isObject,
  jsonPieces,
  parseYaml,
  toJson,
  type JsonObject,
  type Location,
} from "./manifest.ts";

/** Texts to set in a manifest: a tree whose leaves replace, or come to stand beside, what is there. Missing maps are made. */
export interface Changes {
  [key: string]: string | Changes;
}

/** What to set in which manifest of a file. */
export interface Edit {
  location: Location;
  changes: Changes;
}

/**
 * Sets texts in manifests of a file. YAML keeps every line that is not concerned byte by byte: comments, order, quotes and
 * line ends. JSON objects are written anew in two-space layout. A new key comes where the order of its neighbours wants it.
 * @throws SecretError `InvalidInput` where a change cannot be made in the text, as with aliases
 */
export function editManifests(bytes: Uint8Array, edits: readonly Edit[]): Uint8Array {
  const text = decodeUtf8(bytes);
  const nested = edits.map(({ location, changes }) => ({
    document: location.document,
    changes: location.path.reduceRight<Changes>((inner, key) => ({ [key]: inner }), changes),
  }));
  const edited = isJson(text) ? editJson(text, nested) : editYaml(text, nested);
  // Decoding has dropped the byte order mark.
  return Buffer.concat([
    hasByteOrderMark(bytes) ? bytes.subarray(0, 3) : Buffer.alloc(0),
    Buffer.from(edited),
  ]);
}

function hasByteOrderMark(bytes: Uint8Array): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
}

interface DocumentEdit {
  document: number;
  changes: Changes;
}

function editJson(text: string, edits: readonly DocumentEdit[]): string {
  let done = "";
  let rest = text;
  for (const [index, piece] of jsonPieces(text).entries()) {
    const at = rest.indexOf(piece);
    const concerned = edits.filter(({ document }) => document === index);
    const changed = concerned.reduce<unknown>(
      (value, { changes }) => changedValue(value, changes),
      JSON.parse(piece),
    );
    const written = concerned.length === 0 ? piece : toJson(changed as JsonObject).trimEnd();
    done += rest.slice(0, at) + written;
    rest = rest.slice(at + piece.length);
  }
  return done + rest;
}

/** A copy of a value with the changes made. Own properties throughout, so that a key named `__proto__` is a key. */
function changedValue(value: unknown, changes: Changes): unknown {
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) => {
      const change = Object.hasOwn(changes, index) ? changes[index] : undefined;
      return change === undefined ? item : leafOrTree(item, change);
    });
  }
  const before = new Map(isObject(value) ? Object.entries(value) : []);
  for (const [key, change] of Object.entries(changes)) before.set(key, leafOrTree(before.get(key), change));
  return Object.fromEntries(before);
}

function leafOrTree(value: unknown, change: string | Changes): unknown {
  return typeof change === "string" ? change : changedValue(value, change);
}

/** A replacement of a stretch of text. */
interface Splice {
  start: number;
  end: number;
  text: string;
}

function editYaml(text: string, edits: readonly DocumentEdit[]): string {
  const documents = parseYaml(text);
  const editor = new YamlEditor(text);
  const wanted = documents.map((document): unknown => document.toJS());
  for (const { document, changes } of edits) {
    const root = documents[document]?.contents;
    if (!isMap(root)) throw cannotEdit();
    editor.change(root, changes);
    wanted[document] = changedValue(wanted[document], changes);
  }
  const edited = editor.result();
  // The one proof that counts: what the new text says is what was meant.
  const found = valuesOf(edited);
  if (!isDeepStrictEqual(wanted, found)) throw cannotEdit();
  return edited;
}

function valuesOf(text: string): unknown[] {
  try {
    return parseYaml(text).map((document): unknown => document.toJS());
  } catch (error) {
    if (error instanceof SecretError) return [];
    throw error;
  }
}

function cannotEdit(): SecretError {
  return new SecretError("InvalidInput", "the YAML is written in a way that cannot be edited in place", {
    hint: "write it without aliases, anchors and tags where the change goes; nothing was written",
  });
}

/** Collects the splices for one document of a text. */
class YamlEditor {
  readonly #text: string;
  readonly #lineEnd: string;
  readonly #splices: Splice[] = [];

  constructor(text: string) {
    this.#text = text;
    this.#lineEnd = /\r?\n/.exec(text)?.[0] ?? "\n";
  }

  result(): string {
    // Equal places keep their order: the last one made is spliced in first, before those made earlier.
    const backwards = this.#splices.map((splice, made) => ({ ...splice, made }));
    backwards.sort((one, other) => other.start - one.start || other.made - one.made);
    return backwards.reduce(
      (text, { start, end, text: by }) => text.slice(0, start) + by + text.slice(end),
      this.#text,
    );
  }

  change(map: YAMLMap, changes: Changes): void {
    for (const [key, change] of Object.entries(changes).sort(byKey)) {
      const pair = map.items.find((item) => keyOf(item) === key);
      if (pair === undefined) this.#insert(map, key, change);
      else if (typeof change === "string") this.#replace(map, pair, change);
      else this.#descend(map, pair, change);
    }
  }

  #descend(parent: YAMLMap, pair: Pair, changes: Changes): void {
    if (Object.keys(changes).length === 0) return;
    const value = pair.value;
    if (isSeq(value)) {
      for (const [index, change] of Object.entries(changes)) {
        const item = value.items[Number(index)];
        if (isMap(item) && typeof change === "object") this.change(item, change);
      }
    } else if (isMap(value) && value.items.length > 0) this.change(value, changes);
    else this.#fill(parent, pair, changes);
  }

  /** Puts entries under a key that has none: `key:`, `key: null` or `key: {}`. */
  #fill(parent: YAMLMap, pair: Pair, changes: Changes): void {
    const { colon, end } = this.#valueOf(pair);
    if (parent.flow === true) this.#splice(colon, end, ` ${JSON.stringify(changes)}`);
    else {
      this.#splice(colon, end, "");
      this.#insertLines(
        this.#endOfLine(end),
        this.#block(changes, this.#columnOf(parent) + this.#step(parent)),
      );
    }
  }

  #replace(map: YAMLMap, pair: Pair, value: string): void {
    const { start, end } = this.#valueOf(pair);
    const node = isScalar(pair.value) ? pair.value : undefined;
    if (node?.tag !== undefined || node?.anchor !== undefined) throw cannotEdit();
    // A block scalar owns the line end behind it.
    const tail = this.#text.slice(start, end).endsWith("\n") ? this.#lineEnd : "";
    const space = this.#text[start - 1] === ":" ? " " : "";
    this.#splice(start, end, `${space}${map.flow === true ? JSON.stringify(value) : scalar(value)}${tail}`);
  }

  #insert(map: YAMLMap, key: string, change: string | Changes): void {
    if (map.flow === true) this.#insertIntoFlow(map, key, change);
    else {
      const lines = this.#block({ [key]: change }, this.#columnOf(map));
      const before = predecessor(map, key);
      if (before === undefined) this.#insertInFront(map, lines);
      else this.#insertLines(this.#endOfLine(this.#endOfPair(before)), lines);
    }
  }

  #insertIntoFlow(map: YAMLMap, key: string, change: string | Changes): void {
    const last = map.items.at(-1);
    const at = last === undefined ? startOf(map) + 1 : this.#endOfPair(last);
    const comma = last === undefined ? "" : ", ";
    this.#splice(at, at, `${comma}${JSON.stringify(key)}: ${JSON.stringify(change)}`);
  }

  /** A new first key comes above the comments of the one before; behind the dash of a list, it takes that one's place. */
  #insertInFront(map: YAMLMap, lines: readonly string[]): void {
    const first = startOf(map.items[0]?.key);
    const lineStart = this.#text.lastIndexOf("\n", first - 1) + 1;
    const indent = " ".repeat(this.#columnOf(map));
    if (this.#text.slice(lineStart, first).trim() === "") {
      const comments = /(?:(?<=^|\n)[ \t]*#.*\r?\n)*$/.exec(this.#text.slice(0, lineStart))?.[0] ?? "";
      this.#insertLines(lineStart - comments.length, lines);
    } else {
      const text = lines.join(this.#lineEnd).trimStart();
      this.#splice(first, first, `${text}${this.#lineEnd}${indent}`);
    }
  }

  /** Where a pair's value stands; an absent one stands right behind the colon. */
  #valueOf({ key, value }: Pair): { colon: number; start: number; end: number } {
    const colon = this.#text.indexOf(":", endOf(key)) + 1;
    return hasSource(value)
      ? { colon, start: startOf(value), end: endOf(value) }
      : { colon, start: colon, end: colon };
  }

  #endOfPair(pair: Pair): number {
    const value = pair.value;
    if (isMap(value) && value.flow !== true) {
      const last = value.items.at(-1);
      return last === undefined ? endOf(value) : this.#endOfPair(last);
    }
    return this.#valueOf(pair).end;
  }

  /** Where the line after this place begins. */
  #endOfLine(at: number): number {
    if (this.#text[at - 1] === "\n") return at;
    const end = this.#text.indexOf("\n", at);
    return end === -1 ? this.#text.length : end + 1;
  }

  #insertLines(at: number, lines: readonly string[]): void {
    const isOpen = at > 0 && this.#text[at - 1] !== "\n";
    const text = lines.map((line) => `${line}${this.#lineEnd}`).join("");
    this.#splice(at, at, isOpen ? `${this.#lineEnd}${text}` : text);
  }

  #columnOf(map: YAMLMap): number {
    const at = startOf(map.items[0]?.key);
    return at - (this.#text.lastIndexOf("\n", at - 1) + 1);
  }

  /** How far this map's own children are indented, else two spaces. */
  #step(map: YAMLMap): number {
    const child = map.items
      .map(({ value }) => value)
      .find((value) => isMap(value) && value.flow !== true && value.items.length > 0);
    return isMap(child) ? this.#columnOf(child) - this.#columnOf(map) : 2;
  }

  #block(changes: Changes, indent: number): string[] {
    const margin = " ".repeat(indent);
    return Object.entries(changes)
      .sort(byKey)
      .flatMap(([key, change]) =>
        typeof change === "string"
          ? [`${margin}${scalar(key)}: ${scalar(change)}`]
          : [
              `${margin}${scalar(key)}:${Object.keys(change).length === 0 ? " {}" : ""}`,
              ...this.#block(change, indent + 2),
            ],
      );
  }

  #splice(start: number, end: number, text: string): void {
    this.#splices.push({ start, end, text });
  }
}

/** The last neighbour that a new key comes after: in a sorted map the next smaller, else the last; `undefined` at the front. */
function predecessor(map: YAMLMap, key: string): Pair | undefined {
  const keys = map.items.map(keyOf);
  const isSorted = keys.every((one, index) => index === 0 || (keys[index - 1] ?? "") <= one);
  if (!isSorted) return map.items.at(-1);
  return map.items.findLast((pair) => keyOf(pair) < key);
}

function byKey([one]: [string, unknown], [other]: [string, unknown]): number {
  return one < other ? -1 : 1;
}

function keyOf({ key }: Pair): string {
  return isScalar(key) ? String(key.value) : "";
}

function rangeOf(node: unknown): readonly [number, number, ...number[]] {
  const range = (node as Scalar | undefined)?.range;
  return range ?? [0, 0, 0];
}

function startOf(node: unknown): number {
  return rangeOf(node)[0];
}

function endOf(node: unknown): number {
  return rangeOf(node)[1];
}

/** An empty value has no text of its own, and its range may lie behind comments. */
function hasSource(node: unknown): boolean {
  if (isAlias(node) || isMap(node) || isSeq(node)) return true;
  return isScalar(node) && (node.source ?? "") !== "" ? true : isScalar(node) && node.type !== "PLAIN";
}

/** A text as one line of YAML, quoted where it would be read as anything else. */
function scalar(value: string): string {
  const written = stringify(value, { version: "1.1", lineWidth: 0 }).trimEnd();
  return written.includes("\n") ? JSON.stringify(value) : written;
}
