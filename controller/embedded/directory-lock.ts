import { randomBytes } from "node:crypto";
import { linkSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SecretError } from "../../formats/errors.ts";

/** Directories that this very process holds: after a crash in a container the next process has the same id. */
const held = new Set<string>();

/** When a process started, in the kernel's ticks; tells it from a later one with the same id. Empty if not known. */
function startOf(pid: number): string {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "utf8");
    return line.slice(line.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM";
  }
}

function isStale(content: string): boolean {
  const [pid = "", start = ""] = content.trim().split(" ");
  if (Number(pid) === process.pid || !isAlive(Number(pid))) return true;
  return start !== "" && start !== startOf(Number(pid));
}

function readLock(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** Takes a dead process's lock away; another process may do the same, and only one of them gets that very file. */
function breakLock(path: string, stale: string): void {
  const aside = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    renameSync(path, aside);
    if (readLock(aside) !== stale) linkSync(aside, path);
  } catch {
    // It is gone, or taken again: the next attempt to create it tells.
  }
  rmSync(aside, { force: true });
}

/**
 * Holds a directory until the result is called: a second process is refused as long as the first one lives.
 * @throws FileUnusable
 */
export function lockDirectory(directory: string): () => void {
  const real = realpathSync(directory);
  const path = join(directory, "lock");
  for (let attempt = 0; attempt < 3 && !held.has(real); attempt++) {
    try {
      writeFileSync(path, `${process.pid} ${startOf(process.pid)}\n`, { mode: 0o600, flag: "wx" });
      held.add(real);
      return () => {
        held.delete(real);
        rmSync(path, { force: true });
      };
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "EEXIST") {
        throw new SecretError("FileUnusable", `cannot write ${path}`, {
          cause,
          hint: "check its owner and mode",
        });
      }
      const content = readLock(path);
      if (!isStale(content)) break;
      breakLock(path, content);
    }
  }
  throw new SecretError("FileUnusable", `${directory} is in use by another process`, {
    hint: `stop the process named in ${path} first`,
  });
}
