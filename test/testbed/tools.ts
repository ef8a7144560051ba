import { link, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { run } from "./process.ts";

/** A program that the tests run beside ours, and the way to get exactly this version of it. */
interface Tool {
  readonly version: string;
  /** Arguments that make the program print its version. */
  readonly versionArgs: readonly string[];
  /** Leaves the executable at `target`; `workspace` is an empty directory for the build. */
  readonly install: (target: string, workspace: string) => Promise<void>;
}

const kubernetes = (name: string, versionArgs = ["--version"]): Tool => ({
  version: "1.34.4",
  versionArgs,
  install: goPackage({
    module: "k8s.io/kubernetes",
    version: "v1.34.4",
    package: `k8s.io/kubernetes/cmd/${name}`,
    // Clients refuse a server that calls itself v0.0.0.
    variables: {
      "k8s.io/component-base/version.gitVersion": "v1.34.4",
      "k8s.io/component-base/version.gitMajor": "1",
      "k8s.io/component-base/version.gitMinor": "34",
      "k8s.io/component-base/version.gitTreeState": "clean",
    },
    // Inside the repository these are replaced by folders, which the module does not carry.
    replaceLocal: "v0.34.4",
  }),
});

const sealedSecrets = (name: string): Tool => ({
  version: "0.40.0",
  versionArgs: ["--version"],
  install: goPackage({
    module: "github.com/bitnami/sealed-secrets",
    version: "v0.40.0",
    package: `github.com/bitnami/sealed-secrets/cmd/${name}`,
    variables: { "main.VERSION": "v0.40.0" },
    // The project moved; the checksum database knows this version under the older path.
    source: "github.com/bitnami-labs/sealed-secrets",
  }),
});

const tools = {
  "kube-apiserver": kubernetes("kube-apiserver"),
  kubectl: kubernetes("kubectl", ["version", "--client"]),
  "kube-controller-manager": kubernetes("kube-controller-manager"),
  etcd: {
    version: "3.6.6",
    versionArgs: ["--version"],
    install: goPackage({
      module: "go.etcd.io/etcd/server/v3",
      version: "v3.6.6",
      package: "go.etcd.io/etcd/server/v3",
    }),
  },
  kubeseal: sealedSecrets("kubeseal"),
  "sealed-secrets-controller": sealedSecrets("controller"),
} satisfies Record<string, Tool>;

/** A program that the testbed can bring. */
export type ToolName = keyof typeof tools;

/** Every program that the testbed can bring, in a good order to build them. */
export const toolNames = Object.keys(tools) as ToolName[];

/** The version of a tool that the tests run with, without a leading `v`. */
export const versionOf = (name: ToolName): string => tools[name].version;

const found = new Map<ToolName, Promise<string>>();

/**
 * The path of an executable of exactly our version: from the cache, else from PATH, else built once into the cache.
 * @throws if it is in neither place and cannot be built, with what to install.
 */
export function tool(name: ToolName): Promise<string> {
  const path = found.get(name) ?? find(name);
  found.set(name, path);
  return path;
}

async function find(name: ToolName): Promise<string> {
  const wanted = tools[name];
  const home = join(cacheDirectory(), `${name}-${wanted.version}`);
  const cached = join(home, name);
  if (await exists(cached)) return cached;
  if (await isOnPath(name, wanted)) return name;
  await mkdir(cacheDirectory(), { recursive: true });
  await withLock(`${home}.lock`, async () => {
    if (!(await exists(cached))) await build(name, wanted, home);
  });
  return cached;
}

function cacheDirectory(): string {
  return process.env["SEALWRIGHT_CACHE"] ?? join(homedir(), ".cache", "sealwright");
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

async function isOnPath(name: string, { version, versionArgs }: Tool): Promise<boolean> {
  const answer = await run(name, versionArgs).catch(() => undefined);
  const printed = answer?.stdout.match(/\d+\.\d+\.\d+[\w.+-]*/)?.[0];
  return printed === version;
}

/** Installs into a directory of our own and renames it, so that the cache never holds half a tool. */
async function build(name: ToolName, { version, install }: Tool, home: string): Promise<void> {
  process.stderr.write(`testbed: building ${name} ${version} (once, takes minutes)\n`);
  const workspace = `${home}.build-${process.pid}`;
  const finished = join(workspace, "finished");
  await rm(workspace, { recursive: true, force: true });
  await mkdir(finished, { recursive: true });
  try {
    await install(join(finished, name), workspace);
    await rename(finished, home);
  } finally {
    await rm(workspace, { recursive: true, force: true });
  }
}

/** Runs `work` while no other process that asks for the same lock does. A lock whose owner has died is taken over. */
async function withLock(file: string, work: () => Promise<void>): Promise<void> {
  while (!(await acquire(file))) {
    const owner = Number(await readFile(file, "utf8").catch(() => ""));
    if (owner > 0 && !isAlive(owner)) await rm(file, { force: true });
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  try {
    await work();
  } finally {
    await rm(file, { force: true });
  }
}

/** A link appears with its content or not at all, so that a lock always names its owner. */
async function acquire(file: string): Promise<boolean> {
  const mine = `${file}.${process.pid}`;
  await writeFile(mine, String(process.pid));
  try {
    await link(mine, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    await rm(mine, { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

interface GoPackage {
  module: string;
  version: string;
  package: string;
  /** String variables to set at link time, by import path and name. */
  variables?: Readonly<Record<string, string>>;
  /** The version to use for every module that `module` replaces by a folder of its own repository. */
  replaceLocal?: string;
  /** The module path to download `module` from, if another. */
  source?: string;
}

/** Builds a main package from the Go module proxy, by a go.mod of our own: `go install` refuses modules with replacements. */
function goPackage(wanted: GoPackage): Tool["install"] {
  return async (target, workspace) => {
    await writeFile(join(workspace, "go.mod"), await goMod(wanted, workspace));
    const variables = Object.entries(wanted.variables ?? {}).map(([name, value]) => `-X ${name}=${value}`);
    const flags = ["-mod=mod", "-trimpath", "-ldflags", ["-s", "-w", ...variables].join(" ")];
    await go(["build", "-o", target, ...flags, wanted.package], workspace);
  };
}

async function goMod(wanted: GoPackage, workspace: string): Promise<string> {
  const { module, version, source, replaceLocal } = wanted;
  const replaced = replaceLocal === undefined ? [] : await modulesReplacedByFolders(wanted, workspace);
  return [
    "module sealwright.testbed/tool",
    "go 1.24.0",
    `require ${module} ${version}`,
    ...(source === undefined ? [] : [`replace ${module} => ${source} ${version}`]),
    ...replaced.map((name) => `replace ${name} => ${name} ${replaceLocal ?? ""}`),
    "",
  ].join("\n");
}

async function modulesReplacedByFolders(
  { module, version }: GoPackage,
  workspace: string,
): Promise<string[]> {
  const download = await go(["mod", "download", "-json", `${module}@${version}`], workspace);
  const { GoMod } = JSON.parse(download) as { GoMod: string };
  const text = await readFile(GoMod, "utf8");
  return [...text.matchAll(/^\s*(?:replace\s+)?(\S+) => \.\//gm)].map((match) => match[1] ?? "");
}

async function go(args: readonly string[], workspace: string): Promise<string> {
  const proxy = Object.entries(process.env).filter(([name]) =>
    /^(GO|.*_PROXY$|.*_proxy$|SSL_CERT)/.test(name),
  );
  const env = Object.fromEntries(proxy.map(([name, value]) => [name, value ?? ""]));
  const { code, stdout, stderr } = await run("nice", ["go", ...args], { cwd: workspace, env }).catch(() => ({
    code: 127,
    stdout: "",
    stderr: "",
  }));
  if (code === 127)
    throw new Error(
      "Go is not on PATH, and the tests build their servers with it: install Go 1.26.8 or newer",
    );
  if (code !== 0) throw new Error(`go ${args[0] ?? ""} failed in ${workspace}:\n${stderr.slice(-2000)}`);
  return stdout;
}
