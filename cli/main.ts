#!/usr/bin/env node
import { basename } from "node:path";
import { asSecretError, codes } from "../formats/errors.ts";
import { printError, type Personality } from "./terminal.ts";

/** Exit code of every failure under the name `kubeseal`, but for a wrong command line. */
const kubesealFailure = 1;

/** A link to this program takes the command line of the tool that it is named after. */
function personalityOf(program: string): Personality {
  return basename(program).replace(/\.(exe|[cm]?[jt]s)$/, "") === "kubeseal" ? "kubeseal" : "sealwright";
}

/** Runs a command line to its exit code. The one place where the program catches everything. */
async function main(program: string, args: readonly string[]): Promise<number> {
  const personality = personalityOf(program);
  try {
    if (personality === "kubeseal") return await (await import("./kubeseal.ts")).runKubeseal(args);
    return await (await import("./verbs.ts")).runVerb(args);
  } catch (thrown) {
    const error = asSecretError(thrown);
    printError(error, personality);
    return personality === "kubeseal" ? kubesealFailure : codes[error.code].exit;
  }
}

process.exitCode = await main(process.argv[1] ?? "", process.argv.slice(2));
