import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { SecretError } from "../formats/errors.ts";

/**
 * A lock beside a file, held for the few milliseconds of one replacement. It is a symbolic link whose target names the
 * holder: made in one step with its content, and readable without being opened. One whose holder has died is taken over.
 */
const pause = 10;
const patienceMs = 10_000;
/** No replacement takes this long; covers holders on other machines, whose life cannot be asked for. */
const staleMs = 60_000;
/** A longer name would leave no room for ours in the 255 bytes that a file system gives. */
const nameBytes = 150;

/** This machine, in a form that fits a file name: containers that share a directory do not share process ids. */
const host = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);
const self = `${host}-${process.pid}`;
const leftOver = /^\..*\.sealwright-(?:([0-9a-f]{8})-(\d+)-[0-9a-f]{12}|lock)$/;

/** The lock's name for a file. */
export function lockName(file: string): string {
  return `.${shortened(file)}.sealwright-lock`;
}

/** A name for the file's next content. @param unique 12 hexadecimal digits */
export function temporaryName(file: string, unique: string): string {
  return `.${shortened(file)}.sealwright-${self}-${unique}`;
}

function shortened(file: string): string {
  return Buffer.byteLength(file) > nameBytes ? createHash("sha256").update(file).digest("hex") : file;
}

/** Removes what killed runs of this program have left in a directory. */
export function sweep(directory: string): void {
  for (const name of readdirSync(directory)) {
    const match = leftOver.exec(name);
    if (match === null) continue;
    const path = join(directory, name);
    const [, owner, pid] = match;
    if (pid === undefined) takeOver(path);
    else if (owner === host && isGone(Number(pid))) rmSync(path, { force: true });
  }
}

/** Runs `work` while no other process does so under the same lock. @throws SecretError `FileUnusable` after 10 s */
export function withLock<T>(lock: string, work: () => T): T {
  const deadline = performance.now() + patienceMs;
  while (!acquire(lock)) {
    takeOver(lock);
    if (performance.now() > deadline) {
      throw new SecretError("FileUnusable", `${lock} is held by another process`, {
        hint: "wait for it, or remove the lock if no other command is running",
      });
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause);
  }
  try {
    return work();
  } finally {
    rmSync(lock, { force: true });
  }
}

function acquire(lock: string): boolean {
  try {
    symlinkSync(self, lock);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

/** Removes a lock whose holder is gone. It is moved away first: a lock that someone took in between is put back. */
function takeOver(lock: string): void {
  const holder = holderOf(lock);
  if (holder === undefined || !isStale(lock, holder)) return;
  const aside = lock.replace(/lock$/, `${self}-${"0".repeat(12)}`);
  try {
    renameSync(lock, aside);
    if (readlinkSync(aside) === holder) rmSync(aside, { force: true });
    else renameSync(aside, lock);
  } catch {
    // Another process was faster; the caller tries again.
  }
}

function holderOf(lock: string): string | undefined {
  try {
    return readlinkSync(lock);
  } catch {
    return undefined;
  }
}

function isStale(lock: string, holder: string): boolean {
  const [owner, pid] = holder.split("-");
  if (owner === host) return isGone(Number(pid));
  const stats = lstatSync(lock, { throwIfNoEntry: false });
  return stats !== undefined && Date.now() - stats.ctimeMs > staleMs;
}

/** Our own id on what another run has made is that of a process before us: containers often start at the same one. */
function isGone(pid: number): boolean {
  if (pid === process.pid) return true;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "EPERM");
  }
}
