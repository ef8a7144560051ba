import { randomBytes } from "node:crypto";
import { accessSync, constants, readlinkSync, statSync, writeFileSync, type Stats } from "node:fs";
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { SecretError } from "../formats/errors.ts";
import { lockName, sweep, temporaryName, withLock } from "./file-lock.ts";
import { reasonOf } from "./input.ts";

/**
 * Writing files. A reader, or whoever comes after a power cut, finds the old content or the new, whole: the new one is
 * written beside the file, brought to the disk, and renamed over it. A symbolic link stays one; owner and mode are kept. A
 * file with further hard links is refused, since a rename would part it from them and a write in place could tear.
 */
const newFileMode = 0o600;
const attempts = 10;

/** What to write instead of what is there. */
export type Edit = (before: Uint8Array | undefined) => Promise<string | Uint8Array> | string | Uint8Array;

/**
 * Replaces a file's content by an edit of it. The edit runs again where another program wrote the file meanwhile, so that no
 * update is lost.
 * @param edit gets the bytes that are there, or `undefined` for a new file
 * @param options `secret` keeps the file to its owner, whatever its mode was
 * @throws SecretError `FileUnusable`; the file is then as it was
 */
export async function updateFile(
  path: string,
  edit: Edit,
  options: { secret?: boolean } = {},
): Promise<void> {
  const stats = statOf(path);
  if (stats !== undefined && !stats.isFile()) {
    writeThrough(path, await edit(undefined));
    return;
  }
  const target = followed(path);
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const before = contentOf(path, target);
    const after = Buffer.from(await edit(before));
    if (before !== undefined && options.secret !== true && Buffer.compare(before, after) === 0) return;
    if (translated(path, () => commit(target, { before, after, secret: options.secret === true }))) return;
  }
  throw new SecretError("FileUnusable", `${path} is being changed by another program all the time`, {
    hint: "run the command again when it has finished",
  });
}

/** A pipe or a device is written to as it is. */
function writeThrough(path: string, content: string | Uint8Array): void {
  translated(path, () => writeFileSync(path, content));
}

function statOf(path: string): Stats | undefined {
  return translated(path, () => statSync(path, { throwIfNoEntry: false }));
}

/** The file that a path means, through symbolic links, whether or not it exists. */
function followed(path: string): string {
  let at = resolve(path);
  for (let links = 0; links < 40; links += 1) {
    const next = linkTarget(at);
    if (next === undefined) return at;
    at = resolve(dirname(at), next);
  }
  throw new SecretError("FileUnusable", `open ${path}: too many levels of symbolic links`);
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function contentOf(path: string, target: string): Uint8Array | undefined {
  const stats = statOf(path);
  if (stats === undefined) return undefined;
  if (stats.nlink > 1) {
    throw new SecretError(
      "FileUnusable",
      `${path} has ${stats.nlink} hard links, and replacing it would part them`,
      {
        hint: "write to another file with -w, or make the file a copy of its own",
      },
    );
  }
  return translated(path, () => {
    accessSync(target, constants.R_OK | constants.W_OK);
    return readFileSync(target);
  });
}

interface Change {
  before: Uint8Array | undefined;
  after: Uint8Array;
  secret: boolean;
}

/** @returns whether the file still was as `before`, and now is as `after` */
function commit(target: string, change: Change): boolean {
  const directory = dirname(target);
  sweep(directory);
  return withLock(join(directory, lockName(basename(target))), () => {
    const stats = statSync(target, { throwIfNoEntry: false });
    const now = stats === undefined ? undefined : readFileSync(target);
    if (!isSame(now, change.before)) return false;
    const temporary = join(directory, temporaryName(basename(target), randomBytes(6).toString("hex")));
    try {
      writeNew(temporary, change, stats);
      renameSync(temporary, target);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
    synchroniseDirectory(directory);
    return true;
  });
}

function isSame(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return Buffer.compare(one, other) === 0;
}

function writeNew(path: string, { after, secret }: Change, like: Stats | undefined): void {
  const file = openSync(path, "wx", newFileMode);
  try {
    if (like !== undefined) keepOwner(file, like);
    if (like !== undefined && !secret) fchmodSync(file, like.mode & 0o7777);
    for (let at = 0; at < after.length;) at += writeSync(file, after, at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Only root may give a file away; for others the file becomes theirs, as with any editor. */
function keepOwner(file: number, like: Stats): void {
  try {
    fchownSync(file, like.uid, like.gid);
  } catch (error) {
    if (reasonOf(error) !== "operation not permitted") throw error;
  }
}

function synchroniseDirectory(directory: string): void {
  if (process.platform === "win32") return;
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function translated<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof SecretError) throw cause;
    throw new SecretError("FileUnusable", `cannot write ${path}: ${reasonOf(cause)}`, {
      cause,
      hint: "nothing was changed; check the path, its permissions and the space left",
    });
  }
}
