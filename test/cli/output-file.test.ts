import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  readdirSync,
  statSync,
} from "node:fs";
import { symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { run } from "../testbed/process.ts";
import { contents, program, programPath, secretYaml, workspace } from "./program.ts";

const fault = resolve("test/cli/file-fault.ts");
const merge = ["seal", "secret.yaml", "--cert", "cert.pem", "--merge-into", "dir/sealed.yaml"];

/** A workspace with a sealed file in a directory of its own. */
async function prepared(): Promise<{ cwd: string; directory: string; file: string; before: string }> {
  const cwd = await workspace({ "secret.yaml": secretYaml(), "dir/.keep": "" });
  const made = await program(["seal", "secret.yaml", "--cert", "cert.pem", "-w", "dir/sealed.yaml"], { cwd });
  expect(made).toEqual({ code: 0, stdout: "", stderr: "" });
  const directory = join(cwd, "dir");
  const file = join(directory, "sealed.yaml");
  return { cwd, directory, file, before: readFileSync(file, "utf8") };
}

const entriesOf = (directory: string): string[] => readdirSync(directory).sort();

test("a new file is its owner's alone", async () => {
  const { file } = await prepared();
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test("T27: on a full disk an in-place write leaves the original, and no litter", async () => {
  const { cwd, before } = await prepared();
  // A file system of 64 KiB of our own, in a mount namespace that ends with the shell.
  const path = await programPath("sealwright");
  writeFileSync(
    join(cwd, "large.yaml"),
    secretYaml({ more: "immutable: false\n" }) + `  filler: ${"x".repeat(60_000)}\n`,
  );
  const script = `
    set -e
    mkdir small && mount -t tmpfs -o size=64k none small
    cp dir/sealed.yaml small/sealed.yaml
    for how in "--merge-into small/sealed.yaml" "-w small/sealed.yaml"; do
      status=0
      "${process.execPath}" "${path}" seal large.yaml --cert cert.pem $how 2>>stderr || status=$?
      echo "status $status"
      cmp small/sealed.yaml dir/sealed.yaml
      ls -A small
    done`;
  const { stdout, code } = await run("unshare", ["-m", "sh", "-c", script], { cwd });
  expect(stdout).toBe("status 3\nsealed.yaml\nstatus 3\nsealed.yaml\n");
  expect(code).toBe(0);
  expect(readFileSync(join(cwd, "stderr"), "utf8")).toContain("no space left on device");
  expect(readFileSync(join(cwd, "dir/sealed.yaml"), "utf8")).toBe(before);
});

test("T27: on a full disk stdout is not a success", async () => {
  const { cwd } = await prepared();
  const path = await programPath("sealwright");
  const command = `"${process.execPath}" "${path}" seal secret.yaml --cert cert.pem >/dev/full`;
  const { code, stderr } = await run("sh", ["-c", command], { cwd });
  expect(code).toBe(3);
  expect(stderr).toContain("stdout cannot be written");
});

test("T28: killed before any step of an in-place write, the file is old or new, and the next run leaves no litter", async () => {
  const { cwd, directory, file, before } = await prepared();
  const log = join(cwd, "log");
  const nodeArgs = ["--import", fault];
  const env = { FAULT_DIRECTORY: directory };
  await program(merge, { cwd, nodeArgs, env: { ...env, FAULT_LOG: log } });
  const steps = readFileSync(log, "utf8").trim().split("\n");
  const names = steps.map((step) => step.split(" ")[0]);
  // Content to the disk, then the rename, then the directory to the disk.
  const rename = names.indexOf("renameSync");
  expect(names.slice(0, rename)).toEqual(
    expect.arrayContaining(["symlinkSync", "openSync", "writeSync", "fsyncSync"]),
  );
  expect(names.slice(rename + 1)).toContain("fsyncSync");
  expect(steps.filter((step) => /^openSync .*\/sealed.yaml [^r]/.test(step))).toEqual([]);

  for (let at = 1; at <= steps.length; at += 1) {
    writeFileSync(file, before);
    const killed = await program(merge, { cwd, nodeArgs, env: { ...env, FAULT_AT: String(at) } });
    expect(killed.stderr, `step ${at}`).toBe("");
    const after = readFileSync(file, "utf8");
    if (at <= rename + 1) expect(after, `killed before ${steps[at - 1]}`).toBe(before);
    else expect((await program(["verify", file, "--private-key", "key.pem"], { cwd })).code).toBe(0);
    const next = await program(merge, { cwd });
    expect(next, `after a kill before ${steps[at - 1]}`).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(entriesOf(directory)).toEqual([".keep", "sealed.yaml"]);
  }
}, 120_000);

test("T29: two writers lose no update", async () => {
  const { cwd, directory, file } = await prepared();
  const names = Array.from({ length: 8 }, (_, index) => `entry-${index}`);
  for (const name of names) {
    const yaml = secretYaml().replace(/stringData:[^]*/, `stringData:\n  ${name}: hunter2-hunter2\n`);
    writeFileSync(join(cwd, `${name}.yaml`), yaml);
  }
  const results = await Promise.all(
    names.map((name) => program(["seal", `${name}.yaml`, ...merge.slice(2)], { cwd })),
  );
  expect(results.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
    names.map(() => ({ code: 0, stderr: "" })),
  );
  const opened = await program(["unseal", file, "--private-key", "key.pem"], { cwd });
  expect(Object.keys((JSON.parse(opened.stdout) as { data: object }).data).sort()).toEqual(
    [...names, "password", "user"].sort(),
  );
  expect(entriesOf(directory)).toEqual([".keep", "sealed.yaml"]);
}, 60_000);

test("T29: a symbolic link stays one, and its file keeps its mode", async () => {
  const { cwd, directory, file, before } = await prepared();
  chmodSync(file, 0o646);
  symlinkSync("dir/sealed.yaml", join(cwd, "first"));
  symlinkSync("first", join(cwd, "second"));
  const merged = await program([...merge.slice(0, -1), "second"], { cwd });
  expect(merged).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(readlinkSync(join(cwd, "second"))).toBe("first");
  expect(readlinkSync(join(cwd, "first"))).toBe("dir/sealed.yaml");
  expect(lstatSync(file).isFile()).toBe(true);
  expect(statSync(file).mode & 0o7777).toBe(0o646);
  expect(readFileSync(file, "utf8")).not.toBe(before);
  expect(entriesOf(directory)).toEqual([".keep", "sealed.yaml"]);
});

test("T29: a dangling link gets its file", async () => {
  const { cwd } = await prepared();
  symlinkSync("dir/new.yaml", join(cwd, "link.yaml"));
  const sealed = await program(["seal", "secret.yaml", "--cert", "cert.pem", "-w", "link.yaml"], { cwd });
  expect(sealed.code).toBe(0);
  expect(readlinkSync(join(cwd, "link.yaml"))).toBe("dir/new.yaml");
  expect(readFileSync(join(cwd, "dir/new.yaml"), "utf8")).toContain("kind: SealedSecret");
});

test("T29: a file with two hard links is not parted from the other", async () => {
  const { cwd, file, before } = await prepared();
  linkSync(file, join(cwd, "other.yaml"));
  const refused = await program(merge, { cwd });
  expect(refused.code).toBe(3);
  expect(refused.stderr).toContain("has 2 hard links");
  expect(readFileSync(join(cwd, "other.yaml"), "utf8")).toBe(before);
  expect(statSync(file).nlink).toBe(2);
});

test("plaintext is written for its owner alone, whatever the file's mode was", async () => {
  const { cwd } = await prepared();
  writeFileSync(join(cwd, "plain.yaml"), "old", { mode: 0o644 });
  const opened = await program(
    ["unseal", "dir/sealed.yaml", "--private-key", "key.pem", "-w", "plain.yaml"],
    { cwd },
  );
  expect(opened).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(statSync(join(cwd, "plain.yaml")).mode & 0o777).toBe(0o600);
});

test("a directory that is not there, or a directory as the file, is refused", async () => {
  const { cwd } = await prepared();
  mkdirSync(join(cwd, "folder.yaml"));
  for (const target of ["no/such.yaml", "folder.yaml"]) {
    const before = contents(cwd);
    const refused = await program(["seal", "secret.yaml", "--cert", "cert.pem", "-w", target], { cwd });
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/cannot write .*: (no such file or directory|is a directory)/);
    expect(contents(cwd)).toEqual(before);
  }
});

test("a pipe is written to", async () => {
  const { cwd } = await prepared();
  const path = await programPath("sealwright");
  const command = `"${process.execPath}" "${path}" seal secret.yaml --cert cert.pem -w /dev/stdout | cat`;
  expect((await run("sh", ["-c", command], { cwd })).stdout).toContain('"kind": "SealedSecret"');
});

test("a lock that another machine holds is waited for", async () => {
  const { cwd, directory, file, before } = await prepared();
  const lock = join(directory, ".sealed.yaml.sealwright-lock");
  symlinkSync("deadbeef-1", lock);
  const started = program(merge, { cwd });
  // Nothing can be seen of one who waits, but that the file stays as it is for longer than a whole run takes.
  await program(merge.slice(0, 4), { cwd });
  expect(readFileSync(file, "utf8")).toBe(before);
  expect(readlinkSync(lock)).toBe("deadbeef-1");
  unlinkSync(lock);
  expect((await started).code).toBe(0);
  expect(readFileSync(file, "utf8")).not.toBe(before);
  expect(entriesOf(directory)).toEqual([".keep", "sealed.yaml"]);
});
