import { SecretError } from "../formats/errors.ts";

/**
 * Every byte to the user goes through here. Results go to stdout; the rest to stderr, after the program's name, in lower case,
 * without a full stop. A refusal is followed by a hint with the next step.
 */
const red = "31";
const yellow = "33";

/** Under which name the program was started; it decides how messages look. */
export type Personality = "sealwright" | "kubeseal";

/**
 * Writes a result, whole.
 * @throws SecretError `FileUnusable` where stdout is closed or its disk is full
 */
export function printResult(result: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: unknown): void =>
      reject(
        new SecretError("FileUnusable", "stdout cannot be written", { cause, hint: "check where it leads" }),
      );
    process.stdout.once("error", refuse);
    process.stdout.write(result, (error) => {
      if (error !== null && error !== undefined) return;
      process.stdout.off("error", refuse);
      resolve();
    });
  });
}

/** Says something beside the result. */
export function printNote(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Says what the user should look at, though the command goes on. */
export function printWarning(text: string): void {
  printNote(`sealwright: ${painted("warning", yellow)}: ${text}`);
}

/** Says why the command failed, and what to do next. */
export function printError(error: SecretError, personality: Personality): void {
  const message = oneLine(error.message);
  if (personality === "kubeseal") printNote(`error: ${message}`);
  else printNote(`sealwright: ${painted(`error[${error.code}]`, red)}: ${message}`);
  if (error.hint !== undefined) printNote(`hint: ${oneLine(error.hint)}`);
}

/** Tells a person who waits that the program does. */
export function printStdinHint(): void {
  if (process.stdin.isTTY) printNote("(tty detected: expecting a manifest from stdin; end it with ctrl-d)");
}

function painted(text: string, colour: string): string {
  const wanted = process.stderr.isTTY && (process.env["NO_COLOR"] ?? "") === "";
  return wanted ? `\u001b[${colour}m${text}\u001b[0m` : text;
}

/** A file name or an entry name in a message must not move the cursor or forge a line. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => JSON.stringify(character).slice(1, -1));
}
