import { field, isObject, type Json } from "./objects.ts";

/** Reads one value of an object; undefined if there is none. */
export type PathReader = (value: Json) => Json | undefined;

const part =
  /\.([A-Za-z_$][\w$-]*)|\.?\['([^']+)'\]|\[(\d+)\]|\[\?\(@\.([\w.-]+)\s*==\s*(?:"([^"]*)"|'([^']*)')\)\]/y;

function down(value: Json | undefined, key: string): Json | undefined {
  return isObject(value) ? field(value, key) : undefined;
}

function stepOf(match: RegExpExecArray): (value: Json | undefined) => Json | undefined {
  const [, name, quoted, index, filter, first, second] = match;
  const key = name ?? quoted;
  if (key !== undefined) return (value) => down(value, key);
  if (index !== undefined) return (value) => (Array.isArray(value) ? value[Number(index)] : undefined);
  const path = (filter ?? "").split(".");
  const wanted = first ?? second;
  return (value) =>
    Array.isArray(value)
      ? value.find((entry) => path.reduce<Json | undefined>(down, entry) === wanted)
      : undefined;
}

/** The part of JSONPath that printer columns use: `.a.b`, `['a.b']`, `[0]`, `[?(@.type=="X")]`. Others read nothing. */
export function jsonPath(text: string): PathReader {
  const source = text.startsWith(".") || text.startsWith("[") ? text.replaceAll("\\.", "\u0001") : `.${text}`;
  const steps: ((value: Json | undefined) => Json | undefined)[] = [];
  part.lastIndex = 0;
  while (part.lastIndex < source.length) {
    const match = part.exec(source);
    if (match === null) return () => undefined;
    steps.push(stepOf(match));
  }
  return (value) => steps.reduce<Json | undefined>((current, step) => step(current), value);
}
