import { Command, CommanderError } from "commander";
import { SecretError } from "../formats/errors.ts";
import { printResult } from "./terminal.ts";
import { version } from "./version.ts";

/** A verb: its line in the help, and the file that defines it. */
interface Verb {
  summary: string;
  load: () => Promise<{ define: (command: Command) => void }>;
}

/** Every verb. Only the one that is called is loaded. */
const verbs: Readonly<Record<string, Verb>> = {
  seal: { summary: "seal Secrets for a cluster", load: () => import("./seal.ts") },
  unseal: { summary: "open SealedSecrets with private keys, offline", load: () => import("./unseal.ts") },
  reseal: { summary: "encrypt SealedSecrets anew, to the newest key", load: () => import("./reseal.ts") },
  verify: { summary: "ask whether SealedSecrets can be opened", load: () => import("./verify.ts") },
  cert: { summary: "fetch, show and pin the sealing certificate", load: () => import("./cert.ts") },
  demo: { summary: "tell the whole story on an in-memory cluster", load: () => import("./demo.ts") },
};

/** Runs `sealwright <verb> ...`. @returns the exit code @throws SecretError */
export async function runVerb(args: readonly string[]): Promise<number> {
  const called = args.find((argument) => !argument.startsWith("-"));
  const program = quiet(new Command("sealwright"))
    .helpCommand(false)
    .version(version, "-V, --version", "print the version");
  program.description("Keeps Kubernetes secrets in Git: seals them on a laptop, for one cluster to open.");
  for (const [name, verb] of Object.entries(verbs)) {
    const command = quiet(program.command(name))
      .summary(verb.summary)
      .description(`${verb.summary[0]?.toUpperCase() ?? ""}${verb.summary.slice(1)}.`);
    if (name === called) (await verb.load()).define(command);
  }
  program.addHelpText(
    "after",
    "\nExit codes: 2 usage, 3 input, 4 no key fits, 5 altered, 6 cluster or network, 1 a defect.",
  );
  return parse(program, args);
}

async function parse(program: Command, args: readonly string[]): Promise<number> {
  const help: string[] = [];
  configure(program, (text) => help.push(text));
  try {
    await program.parseAsync(args.length === 0 ? ["--help"] : args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw usage(error);
  }
  if (help.length > 0) await printResult(help.join(""));
  return 0;
}

function quiet(command: Command): Command {
  return command.exitOverride().showHelpAfterError(false).allowExcessArguments(false);
}

function configure(program: Command, writeOut: (text: string) => void): void {
  for (const command of [program, ...program.commands]) {
    command.configureOutput({ writeOut, writeErr: () => undefined, outputError: () => undefined });
  }
}

/** A flag's value may be a secret that was put in the wrong place: what follows `=` is not repeated. */
function usage(error: CommanderError): SecretError {
  const text = error.message.replace(/^error: /, "").replace(/(--?[\w-]+)=[^']*/g, "$1");
  const [message = "", suggestion] = text.split("\n");
  const hint =
    suggestion?.replace(/[()]/g, "").toLowerCase() ??
    "`sealwright --help` lists the verbs, `sealwright <verb> --help` its flags";
  return new SecretError(
    "Usage",
    message.replace(/^\w/, (letter) => letter.toLowerCase()),
    { hint },
  );
}
