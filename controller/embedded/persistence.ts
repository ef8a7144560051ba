import {
  closeSync,
  fstatSync,
  fsync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  write,
  writeSync,
  chmodSync,
} from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { SecretError } from "../../formats/errors.ts";
import type { Identity } from "./certificate.ts";
import { writePrivateFile } from "./kubeconfig.ts";
import { isObject, textAt, type JsonObject } from "./objects.ts";
import { lockDirectory } from "./directory-lock.ts";
import type { Change, ChangeType, Journal, Store } from "./store.ts";

/** The log is folded into a snapshot when it has grown beyond this and beyond the snapshot. Bytes. */
const compactAt = 4 * 1024 * 1024;

/** A directory in use by this process. */
export interface OpenDirectory {
  /** The certificates and token of an earlier run. */
  identity(): Identity | undefined;
  keepIdentity(identity: Identity): void;
  close(): Promise<void>;
}

function checksummed(text: string): string {
  return `${crc32(text).toString(16).padStart(8, "0")} ${text}\n`;
}

/** The JSON of a line, or undefined if the line is torn. */
function unchecked(line: string): unknown {
  const text = line.slice(9);
  if (line[8] !== " " || crc32(text).toString(16).padStart(8, "0") !== line.slice(0, 8)) return undefined;
  return JSON.parse(text) as unknown;
}

function altered(path: string): SecretError {
  return new SecretError("Altered", `${path} is damaged`, {
    hint: "restore the directory from a backup, or move it away to start empty",
  });
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw new SecretError("FileUnusable", `cannot read ${path}`, { cause, hint: "check its owner and mode" });
  }
}

function syncDirectory(path: string): void {
  const descriptor = openSync(path, "r");
  fsyncSync(descriptor);
  closeSync(descriptor);
}

function loadSnapshot(path: string, store: Store): void {
  const text = readIfThere(path);
  if (text === "") return;
  const lines = text.trimEnd().split("\n").map(unchecked);
  const [head, ...rest] = lines;
  if (!isObject(head) || head["objects"] !== rest.length) throw altered(path);
  const objects = rest.map((entry): [string, JsonObject] => {
    if (!Array.isArray(entry) || typeof entry[0] !== "string" || !isObject(entry[1])) throw altered(path);
    return [entry[0], entry[1]];
  });
  store.restore(Number(head["version"]), objects);
}

/** Replays the log; returns the length of its sound part in bytes. */
function loadLog(path: string, store: Store): number {
  const text = readIfThere(path);
  let sound = 0;
  const lines = text.split("\n");
  for (const [index, line] of lines.entries()) {
    if (line === "") continue;
    const batch = unchecked(line);
    if (!Array.isArray(batch)) {
      // Only the last batch can be torn: it was never acknowledged. Anything else is damage.
      if (lines.slice(index + 1).some((later) => unchecked(later) !== undefined)) throw altered(path);
      return sound;
    }
    for (const record of batch) replayRecord(path, store, record);
    sound += Buffer.byteLength(line) + 1;
  }
  return sound;
}

function replayRecord(path: string, store: Store, record: unknown): void {
  if (!Array.isArray(record) || !isObject(record[3])) throw altered(path);
  const [version, type, storage, object] = record as [number, ChangeType, string, JsonObject];
  if (version > store.version) store.replay({ version, type, storage, object });
}

/** The append-only log: one line per batch, on disk before any write of the batch is acknowledged. */
class Log implements Journal {
  readonly #directory: string;
  readonly #store: Store;
  readonly #descriptor: number;
  #size: number;
  #snapshotSize: number;
  #pending: string[] = [];
  #running: Promise<void> | undefined;
  #failed: unknown;

  constructor(directory: string, store: Store, sizes: { log: number; snapshot: number }) {
    this.#directory = directory;
    this.#store = store;
    this.#descriptor = openSync(join(directory, "log"), "a", 0o600);
    this.#size = sizes.log;
    this.#snapshotSize = sizes.snapshot;
    ftruncateSync(this.#descriptor, sizes.log);
    fsyncSync(this.#descriptor);
  }

  append({ version, type, storage, object }: Change): void {
    this.#pending.push(JSON.stringify([version, type, storage, object]));
  }

  async settled(): Promise<void> {
    while (this.#pending.length > 0 || this.#running !== undefined) {
      this.#running ??= this.#flush().finally(() => {
        this.#running = undefined;
      });
      await this.#running;
    }
    if (this.#failed !== undefined) throw new Error("the log cannot be written", { cause: this.#failed });
  }

  async close(): Promise<void> {
    await this.settled().catch(() => undefined);
    closeSync(this.#descriptor);
  }

  async #flush(): Promise<void> {
    const batch = this.#pending.splice(0);
    if (this.#failed !== undefined) return;
    try {
      const line = Buffer.from(checksummed(`[${batch.join(",")}]`));
      await writeAll(this.#descriptor, line);
      await synced(this.#descriptor);
      this.#size += line.length;
      if (this.#size > Math.max(compactAt, this.#snapshotSize)) this.#compact();
    } catch (failure) {
      this.#failed = failure;
    }
  }

  /** Replaces the log by a snapshot. Records that the snapshot has already, left by a crash or still to come, are skipped. */
  #compact(): void {
    this.#snapshotSize = writeSnapshot(this.#directory, this.#store);
    ftruncateSync(this.#descriptor, 0);
    fsyncSync(this.#descriptor);
    this.#size = 0;
  }
}

function writeSnapshot(directory: string, store: Store): number {
  const objects = [...store.everything()];
  const head = checksummed(JSON.stringify({ version: store.version, objects: objects.length }));
  const temporary = join(directory, "snapshot.tmp");
  const descriptor = openSync(temporary, "w", 0o600);
  try {
    writeSync(descriptor, head);
    for (const entry of objects) writeSync(descriptor, checksummed(JSON.stringify(entry)));
    fsyncSync(descriptor);
    const { size } = fstatSync(descriptor);
    renameSync(temporary, join(directory, "snapshot"));
    syncDirectory(directory);
    return size;
  } finally {
    closeSync(descriptor);
  }
}

function writeAll(descriptor: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const next = (offset: number): void => {
      write(descriptor, bytes, offset, bytes.length - offset, null, (failure, written) => {
        if (failure !== null) reject(failure);
        else if (offset + written < bytes.length) next(offset + written);
        else resolve();
      });
    };
    next(0);
  });
}

function synced(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) =>
    fsync(descriptor, (failure) => (failure === null ? resolve() : reject(failure))),
  );
}

/**
 * Opens a directory (made with mode 0700 if absent), puts its objects into the store and keeps later writes there.
 * @throws FileUnusable if it cannot be used or is in use, Altered if its content is damaged
 */
export function openDirectory(directory: string, store: Store): OpenDirectory {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
  } catch (cause) {
    throw new SecretError("FileUnusable", `cannot use the directory ${directory}`, {
      cause,
      hint: "choose another one",
    });
  }
  const unlock = lockDirectory(directory);
  try {
    rmSync(join(directory, "snapshot.tmp"), { force: true });
    loadSnapshot(join(directory, "snapshot"), store);
    const sound = loadLog(join(directory, "log"), store);
    const log = new Log(directory, store, { log: sound, snapshot: 0 });
    syncDirectory(directory);
    store.persist(log);
    const identityPath = join(directory, "identity.json");
    return {
      identity: () => readIdentity(identityPath),
      keepIdentity: (identity) => writePrivateFile(identityPath, JSON.stringify(identity)),
      close: async () => {
        await log.close();
        unlock();
      },
    };
  } catch (failure) {
    unlock();
    throw failure;
  }
}

function readIdentity(path: string): Identity | undefined {
  const text = readIfThere(path);
  if (text === "") return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw altered(path);
  }
  if (!isObject(parsed)) throw altered(path);
  const value = (key: string): string => {
    const found = textAt(parsed, key);
    if (found === undefined) throw altered(path);
    return found;
  };
  return {
    caPem: value("caPem"),
    certificatePem: value("certificatePem"),
    keyPem: value("keyPem"),
    token: value("token"),
  };
}
