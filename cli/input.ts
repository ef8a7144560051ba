import { readFile } from "node:fs/promises";
import { SecretError } from "../formats/errors.ts";
import { readManifests, type Manifest } from "../formats/manifest.ts";
import { printStdinHint } from "./terminal.ts";

/** What the operating system's error codes mean, in the words that people know. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file or directory",
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EISDIR: "is a directory",
  ENOTDIR: "not a directory",
  ELOOP: "too many levels of symbolic links",
  ENAMETOOLONG: "file name too long",
  ENOSPC: "no space left on device",
  EDQUOT: "disk quota exceeded",
  EFBIG: "file too large",
  EROFS: "read-only file system",
};

/** Why a file operation failed, from its error code alone. */
export function reasonOf(thrown: unknown): string {
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  return reasons[code] ?? (code === "" ? "unknown reason" : code);
}

/** Reads a file. @throws SecretError `FileUnusable` */
export async function readInputFile(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new SecretError("FileUnusable", `open ${file}: ${reasonOf(cause)}`, {
      cause,
      hint: "check the path and its permissions",
    });
  }
}

/** Reads stdin to its end. @throws SecretError `FileUnusable` */
export async function readStdin(): Promise<Uint8Array> {
  printStdinHint();
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
  } catch (cause) {
    throw new SecretError("FileUnusable", `stdin cannot be read: ${reasonOf(cause)}`, { cause });
  }
  return Buffer.concat(chunks);
}

/** One input and what it holds. */
export interface Input {
  /** `undefined` for stdin. */
  file: string | undefined;
  bytes: Uint8Array;
  manifests: Manifest[];
}

/**
 * Reads the manifests of files, or of stdin where none is named.
 * @throws SecretError `FileUnusable`; `InvalidInput` for broken manifests, and for an input that holds none
 */
export async function readInputs(files: readonly string[]): Promise<Input[]> {
  const named: (string | undefined)[] = files.length === 0 ? [undefined] : [...files];
  const inputs: Input[] = [];
  for (const file of named) {
    const bytes = file === undefined ? await readStdin() : await readInputFile(file);
    inputs.push({ file, bytes, manifests: within(file, () => manifestsIn(bytes)) });
  }
  return inputs;
}

function manifestsIn(bytes: Uint8Array): Manifest[] {
  const manifests = readWithTemplateHint(bytes);
  if (manifests.length > 0) return manifests;
  throw new SecretError("InvalidInput", "no secrets found. Ensure the input is valid and UTF-8 encoded", {
    hint: "give at least one manifest with -f or on stdin",
  });
}

/** A chart's template is the usual reason why YAML does not parse: it says so better than the parser can. */
function readWithTemplateHint(bytes: Uint8Array): Manifest[] {
  try {
    return readManifests(bytes);
  } catch (error) {
    if (error instanceof SecretError && /\{\{[\s\S]*\}\}/.test(Buffer.from(bytes).toString("utf8"))) {
      throw new SecretError(error.code, error.message, {
        cause: error,
        hint: "the input holds template markers `{{ }}`: render it first, for example with `helm template`",
      });
    }
    throw error;
  }
}

/** Runs `work`, and says in what it throws where that was. */
export function within<T>(place: string | undefined, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw placed(place, error);
  }
}

/** Puts a file's or an object's name before an error's message, so that one of many can be found. */
export function placed(place: string | undefined, error: unknown): unknown {
  if (!(error instanceof SecretError) || place === undefined) return error;
  const { code, message, hint } = error;
  return new SecretError(code, `${place}: ${message}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
