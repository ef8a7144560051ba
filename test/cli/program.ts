import { createHash } from "node:crypto";
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import { bundleProgram } from "../../build/program.mjs";
import { newKeyPair } from "../formats/sealing.ts";
import { run } from "../testbed/process.ts";

/** What a run of the program left. */
export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/** How to run the program, where it matters. */
export interface Run {
  stdin?: string | Uint8Array;
  env?: Record<string, string>;
  cwd?: string;
  /** The name to start it under. */
  as?: "sealwright" | "kubeseal";
  /** Arguments for Node itself. */
  nodeArgs?: readonly string[];
}

const built = buildOnce();

/** The directory that holds the program under each of its names, bundled as it ships. Made once for a state of the sources. */
async function buildOnce(): Promise<string> {
  const sources = globSync("{cli,formats}/**/*.ts").sort();
  const hash = createHash("sha256").update(readFileSync("build/program.mjs"));
  for (const source of sources) hash.update(source).update(readFileSync(source));
  const home = join(tmpdir(), `sealwright-cli-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(home)) return home;
  const workspace = mkdtempSync(`${home}-`);
  const outfile = join(workspace, "sealwright.mjs");
  await bundleProgram({ name: "sealwright", version: "0.0.0-test", entry: "cli/main.ts", outfile });
  symlinkSync("sealwright.mjs", join(workspace, "kubeseal"));
  symlinkSync("sealwright.mjs", join(workspace, "sealwright"));
  try {
    renameSync(workspace, home);
  } catch (error) {
    // Another worker was first.
    if (!existsSync(home)) throw error;
    rmSync(workspace, { recursive: true });
  }
  return home;
}

/** The program's file under one of its names. */
export async function programPath(as: "sealwright" | "kubeseal"): Promise<string> {
  return join(await built, as);
}

/** Runs the program to its end, with an empty home and without a kubeconfig. */
export async function program(args: readonly string[], options: Run = {}): Promise<Result> {
  const { stdin = "", env = {}, cwd, as = "sealwright", nodeArgs = [] } = options;
  const path = await programPath(as);
  return run(process.execPath, [...nodeArgs, path, ...args], {
    stdin,
    env: { HOME: "/nonexistent", ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
}

const pair = newKeyPair();

/** The key pair of every workspace. */
export function keyPair(): ReturnType<typeof newKeyPair> {
  return pair;
}

/** A directory with `cert.pem`, `key.pem` and the given files; gone when the test ends. */
export async function workspace(files: Record<string, string | Uint8Array> = {}): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "sealwright-work-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const { certificatePem, privateKeyPem } = await pair;
  for (const [name, content] of Object.entries({
    "cert.pem": certificatePem,
    "key.pem": privateKeyPem,
    ...files,
  })) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
  return directory;
}

/** Every file below a directory, with its content, so that "nothing was written" can be shown. */
export function contents(directory: string): Record<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter(
    (entry) => !entry.isDirectory(),
  );
  const named = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  return Object.fromEntries(
    named.map((file) => [
      file.slice(directory.length + 1),
      existsSync(file) ? readFileSync(file, "latin1") : "(dangling)",
    ]),
  );
}

/** A Secret's manifest. */
export function secretYaml({ name = "db", namespace = "prod", more = "" } = {}): string {
  return `apiVersion: v1
kind: Secret
metadata:
  name: ${name}
  namespace: ${namespace}
${more}stringData:
  password: hunter2-hunter2
  user: admin
`;
}
