import type { Command } from "commander";
import { flags as table, presets, type Flag, type FlagName, type Flags } from "./flags.ts";

/** Adds flags of the table to a verb. */
export function addFlags(command: Command, names: readonly FlagName[]): void {
  for (const name of names) {
    const { kind, short, usage, default: otherwise }: Flag = table[name];
    const long = kind === "boolean" ? `--${name}` : `--${name} <value>`;
    const line = short === undefined ? long : `-${short}, ${long}`;
    const help = otherwise === undefined ? usage : `${usage} (default: ${otherwise})`;
    if (kind === "string" || kind === "boolean") command.option(line, help);
    else
      command.option(line, help, (text, before: string[] | undefined) => [
        ...(before ?? []),
        ...splitValue(kind, text),
      ]);
  }
}

function splitValue(kind: "list" | "array", text: string): string[] {
  return kind === "list" ? text.split(",") : [text];
}

/** A verb's flags as given, over the environment's presets. Positional arguments are input files. */
export function flagsOf(command: Command): Flags {
  const given = Object.entries(command.opts<Record<string, unknown>>());
  const known = command.options.map((option) => option.attributeName());
  const preset = Object.entries(presets(process.env)).filter(([key]) => known.includes(key));
  const flags = Object.fromEntries([...preset, ...given].filter(([, value]) => value !== "")) as Flags;
  const files = [...command.args, ...(flags.secretFile ?? [])];
  return { ...flags, ...(files.length === 0 ? {} : { secretFile: files }) };
}
