import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";

/** A program that runs beside the test. It dies with the test process, however that ends. */
export interface Running {
  readonly pid: number;
  /** Settles when the process has ended; resolves to its exit code, or to the signal that killed it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  /** Everything it wrote to stdout and stderr so far. */
  logs(): string;
  /** Sends the signal, waits 10 s for the end and then kills; returns when the process is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Stops its clock: sockets stay open and silent (SIGSTOP). */
  freeze(): void;
  /** Lets a frozen process go on (SIGCONT). */
  thaw(): void;
}

/** How to start a program. */
export interface Launch {
  program: string;
  args: readonly string[];
  /** The whole environment; nothing is inherited but PATH and HOME. */
  env?: Readonly<Record<string, string>>;
  /** Collects stdout and stderr; appended to, so that a restart keeps the earlier lines. */
  logFile: string;
}

/** Starts a program in the background. */
export function launch({ program, args, env = {}, logFile }: Launch): Running {
  const log = openSync(logFile, "a", 0o600);
  const child = spawn(program, args, { env: { ...baseEnvironment(), ...env }, stdio: ["ignore", log, log] });
  closeSync(log);
  const exited = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? signal ?? 1));
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`cannot start ${program}: is it there and executable?`);
  guard.add(pid);
  exited.finally(() => guard.remove(pid)).catch(() => undefined);
  return {
    pid,
    exited,
    logs: () => readFileSync(logFile, "utf8"),
    stop: (signal = "SIGTERM") => stop(child, exited, signal),
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
  };
}

async function stop(child: ChildProcess, exited: Promise<unknown>, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  // A frozen process handles no signal but SIGKILL.
  child.kill("SIGCONT");
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await exited;
  clearTimeout(timer);
}

/** Runs a program to its end. @returns what it wrote; a non-zero exit code is a result, not an error. */
export async function run(
  program: string,
  args: readonly string[],
  {
    stdin = "",
    env = {},
    cwd,
  }: { stdin?: string | Uint8Array; env?: Record<string, string>; cwd?: string } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(program, args, { env: { ...baseEnvironment(), ...env }, cwd, stdio: "pipe" });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  // A program may end without reading its input.
  child.stdin.on("error", () => undefined);
  child.stdin.end(stdin);
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve(status ?? 1));
  });
  return { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}

function baseEnvironment(): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "/" };
}

/**
 * Kills by pid whatever still runs when this process ends, be it by SIGKILL: the shell's input closes with us. It ignores
 * the terminal's signals, since Ctrl-C reaches a whole process group.
 */
class Guard {
  #shell: ChildProcess | undefined;

  static readonly #script = `
    trap "" INT TERM HUP
    while read -r change what; do
      case $change in
        add) running="$running $what" ;;
        remove) left=; for p in $running; do [ "$p" = "$what" ] || left="$left $p"; done; running=$left ;;
        directory) directories="$directories $what" ;;
      esac
    done
    for p in $running; do kill -9 "$p" 2>/dev/null; done
    for d in $directories; do rm -rf "$d"; done`;

  add(pid: number): void {
    this.#tell(`add ${pid}`);
  }

  remove(pid: number): void {
    this.#tell(`remove ${pid}`);
  }

  /** Also deletes this directory at the end; its path must hold no space. */
  deleteAtEnd(directory: string): void {
    this.#tell(`directory ${directory}`);
  }

  #tell(line: string): void {
    this.#shell ??= this.#start();
    this.#shell.stdin?.write(`${line}\n`);
  }

  #start(): ChildProcess {
    const shell = spawn("/bin/sh", ["-c", Guard.#script], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    shell.unref();
    (shell.stdin as unknown as { unref(): void }).unref();
    return shell;
  }
}

/** The one guard of this process. */
export const guard = new Guard();

/**
 * A TCP port on 127.0.0.1 that nobody listens on now. Below the range from which systems take the source ports of
 * outgoing connections, so that a server can come back to its port after a restart.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Asks until the answer is not `undefined`. @throws after `seconds`, with what was waited for. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  seconds = 30,
): Promise<T> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits until a server that was just started answers. @throws as soon as it ends, with the end of its log. */
export async function untilReady(
  name: string,
  running: Running,
  isReady: () => Promise<boolean>,
): Promise<void> {
  let end: number | NodeJS.Signals | undefined;
  running.exited.then(
    (how) => (end = how),
    () => (end = 127),
  );
  await eventually(
    name,
    async () => {
      if (end !== undefined)
        throw new Error(`${name} ended (${end}) before it was ready:\n${running.logs().slice(-2000)}`);
      return (await isReady()) || undefined;
    },
    90,
  );
}
