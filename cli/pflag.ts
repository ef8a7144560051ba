import { SecretError } from "../formats/errors.ts";
import { flagValue, type FlagKind } from "./flags.ts";

/**
 * Command lines by the rules of Go's pflag package: `--flag=value`, `--flag value`, `-o yaml`, `-oyaml`, `-o=yaml`, `--flag=false`,
 * positional arguments anywhere, `--` ends the flags.
 */
export interface PFlag {
  name: string;
  kind: FlagKind | "number";
  short?: string;
}

/** A parsed value; a number's text is checked, and not used. */
type Value = string | boolean | string[];

/** Asked for with `-h`, which no flag of the table has to have. */
export const helpAsked = Symbol("help");

/**
 * Parses a command line. A later value replaces an earlier one; those of a list add up.
 * @returns values by flag name, or {@link helpAsked}
 * @throws SecretError `Usage`; its message names the flag, and never repeats a value
 */
export function parsePFlags(
  args: readonly string[],
  table: readonly PFlag[],
): Map<string, Value> | typeof helpAsked {
  const values = new Map<string, Value>();
  const rest = [...args];
  for (let argument = rest.shift(); argument !== undefined && argument !== "--"; argument = rest.shift()) {
    if (argument.startsWith("--")) readLong(argument.slice(2), { rest, table, values });
    else if (/^-./.test(argument) && readShort(argument.slice(1), { rest, table, values }) === helpAsked)
      return helpAsked;
  }
  return values;
}

interface State {
  rest: string[];
  table: readonly PFlag[];
  values: Map<string, Value>;
}

function refuse(message: string): never {
  throw new SecretError("Usage", message);
}

function readLong(text: string, { rest, table, values }: State): void {
  const [, name = "", value] = /^([^=]*)(?:=([\s\S]*))?$/.exec(text) ?? [];
  if (name === "" || name.startsWith("-")) refuse(`bad flag syntax: --${name}`);
  const flag = table.find((one) => one.name === name) ?? refuse(`unknown flag: --${name}`);
  const given = value ?? (flag.kind === "boolean" ? "true" : rest.shift());
  store(flag, given ?? refuse(`flag needs an argument: --${name}`), values);
}

function readShort(letters: string, { rest, table, values }: State): typeof helpAsked | undefined {
  for (let at = 0; at < letters.length; at += 1) {
    const letter = letters[at] ?? "";
    const flag = table.find((one) => one.short === letter);
    if (flag === undefined && letter === "h") return helpAsked;
    if (flag === undefined) refuse(`unknown shorthand flag: '${letter}'`);
    const behind = letters.slice(at + 1);
    const isSwitch = flag.kind === "boolean" && !behind.startsWith("=");
    const given = isSwitch ? "true" : behind.replace(/^=/, "") || (behind === "" ? rest.shift() : "");
    store(flag, given ?? refuse(`flag needs an argument: '${letter}' in -${letter}`), values);
    if (!isSwitch) return undefined;
  }
  return undefined;
}

function store(flag: PFlag, text: string, values: Map<string, Value>): void {
  const value = flag.kind === "number" ? numberText(text) : flagValue(flag.kind, text);
  if (value === undefined) refuse(`invalid argument for "--${flag.name}" flag: expected a ${flag.kind}`);
  const before = values.get(flag.name);
  values.set(flag.name, Array.isArray(value) && Array.isArray(before) ? [...before, ...value] : value);
}

function numberText(text: string): string | undefined {
  return /^[+-]?\d+$/.test(text) ? text : undefined;
}

/** The lines of the help, one a flag, in order of their names. */
export function describePFlags(table: readonly (PFlag & { usage: string; default?: string })[]): string {
  const rows = [...table]
    .sort((one, other) => (one.name < other.name ? -1 : 1))
    .map((flag) => {
      const kind = {
        string: " string",
        boolean: "",
        list: " strings",
        array: " stringArray",
        number: " int",
      }[flag.kind];
      const start = flag.short === undefined ? "      " : `  -${flag.short}, `;
      const end = flag.default === undefined ? "" : ` (default ${JSON.stringify(flag.default)})`;
      return { left: `${start}--${flag.name}${kind}`, right: `${flag.usage}${end}` };
    });
  const width = Math.max(...rows.map(({ left }) => left.length));
  return rows.map(({ left, right }) => `${left.padEnd(width)}   ${right}\n`).join("");
}
