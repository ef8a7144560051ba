// Loaded with --import: ends the program with SIGKILL before its N-th call on a directory's files, or logs those calls.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const { FAULT_AT, FAULT_DIRECTORY = "", FAULT_LOG } = process.env;
const names = [
  "symlinkSync",
  "openSync",
  "fchownSync",
  "fchmodSync",
  "writeSync",
  "fsyncSync",
  "closeSync",
  "renameSync",
  "rmSync",
] as const;
type Call = (...args: unknown[]) => unknown;
const calls = fs as unknown as Record<(typeof names)[number], Call>;
const open = new Set<unknown>();
const { appendFileSync, writeSync } = fs;
let count = 0;

function concerns([first, second]: unknown[]): boolean {
  return [first, second].some((argument) => String(argument).startsWith(FAULT_DIRECTORY)) || open.has(first);
}

/** A write may also end half-way. */
function die(name: string, args: unknown[]): void {
  if (name === "writeSync") writeSync(args[0] as number, (args[1] as Buffer).subarray(0, 100));
  process.kill(process.pid, "SIGKILL");
}

for (const name of names) {
  const real = calls[name];
  calls[name] = (...args) => {
    if (!concerns(args)) return real(...args);
    count += 1;
    if (FAULT_LOG !== undefined)
      appendFileSync(FAULT_LOG, `${name} ${String(args[0])} ${name === "openSync" ? String(args[1]) : ""}\n`);
    if (count === Number(FAULT_AT)) die(name, args);
    const result = real(...args);
    if (name === "openSync") open.add(result);
    if (name === "closeSync") open.delete(args[0]);
    return result;
  };
}
syncBuiltinESMExports();
