import { copyFileSync, existsSync, globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { program, workspace, type Result } from "./program.ts";

/**
 * Runs the sessions under `scripts/`. Above the first `-- name --` line stand commands, below it the files to start with.
 *
 *     sealwright ARGS    kubeseal ARGS    run the program; it must succeed
 *     ! sealwright ARGS                   it must fail, and leave no new file
 *     exit N                              the exit code of the last run
 *     stdout RE   stderr RE               what the last run wrote matches; `!` before: does not match
 *     silent                              the last run wrote nothing to stderr
 *     stdin FILE                          what the next run reads
 *     env NAME=VALUE                      from here on
 *     cp A B   cmp A B   ! cmp A B        files; `stdout` names what the last run wrote
 *     exists A   ! exists A   grep RE A   ! grep RE A
 */
interface Session {
  directory: string;
  stdin: string;
  env: Record<string, string>;
  last: Result;
}

type Act = (session: Session, rest: string, negated: boolean) => Promise<void> | void;

const acts: Record<string, Act> = {
  sealwright: (session, rest, negated) => start(session, { as: "sealwright", rest, negated }),
  kubeseal: (session, rest, negated) => start(session, { as: "kubeseal", rest, negated }),
  exit: ({ last }, rest) => expect(last.code, last.stderr).toBe(Number(rest)),
  stdout: ({ last }, rest, negated) => matches(last.stdout, rest, negated),
  stderr: ({ last }, rest, negated) => matches(last.stderr, rest, negated),
  silent: ({ last }) => expect(last.stderr).toBe(""),
  stdin: (session, rest) => {
    session.stdin = read(session, rest);
  },
  env: (session, rest) => {
    const [, name = "", value = ""] = /^(\w+)=(.*)$/.exec(rest) ?? [];
    session.env[name] = value.replace("$WORK", session.directory);
  },
  cp: ({ directory }, rest) => {
    const [from = "", to = ""] = rest.split(" ");
    copyFileSync(join(directory, from), join(directory, to));
  },
  cmp: (session, rest, negated) => {
    const [one = "", other = ""] = rest.split(" ");
    if (negated) expect(read(session, one)).not.toBe(read(session, other));
    else expect(read(session, one)).toBe(read(session, other));
  },
  exists: ({ directory }, rest, negated) => expect(existsSync(join(directory, rest))).toBe(!negated),
  grep: (session, rest, negated) => {
    const [, pattern = "", file = ""] = /^(.*) (\S+)$/.exec(rest) ?? [];
    matches(read(session, file), pattern, negated);
  },
};

function matches(text: string, pattern: string, negated: boolean): void {
  const expression = new RegExp(pattern, "m");
  if (negated) expect(text).not.toMatch(expression);
  else expect(text).toMatch(expression);
}

function read({ directory, last }: Session, name: string): string {
  return name === "stdout" ? last.stdout : readFileSync(join(directory, name), "utf8");
}

async function start(
  session: Session,
  { as, rest, negated }: { as: "sealwright" | "kubeseal"; rest: string; negated: boolean },
): Promise<void> {
  const args = [...rest.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");
  const before = globSync("**", { cwd: session.directory });
  session.last = await program(args, { as, cwd: session.directory, stdin: session.stdin, env: session.env });
  session.stdin = "";
  if (!negated) {
    expect(session.last.code, session.last.stderr).toBe(0);
    return;
  }
  expect(session.last.code, session.last.stdout).not.toBe(0);
  expect(session.last.stderr, "a failure says why").not.toBe("");
  expect(globSync("**", { cwd: session.directory }), "a failure leaves no file").toEqual(before);
}

function parse(text: string): { lines: string[]; files: Record<string, string> } {
  const [commands = "", ...parts] = text.split(/^-- (\S+) --\n/m);
  const files: Record<string, string> = {};
  for (let at = 0; at + 1 < parts.length; at += 2) files[parts[at] ?? ""] = parts[at + 1] ?? "";
  return { lines: commands.split("\n"), files };
}

const scripts = globSync("test/cli/scripts/*.txt").sort();

test("there are scripts", () => expect(scripts.length).toBeGreaterThan(4));

test.each(scripts.map((file) => [basename(file), file] as const))(
  "session %s",
  async (_, file) => {
    const { lines, files } = parse(readFileSync(file, "utf8"));
    const last = { code: 0, stdout: "", stderr: "" };
    const session: Session = { directory: await workspace(files), stdin: "", env: {}, last };
    for (const [index, line] of lines.entries()) {
      const [, negation, verb = "", rest = ""] = /^(! )?(\w+)? ?(.*)$/.exec(line) ?? [];
      if (line.startsWith("#") || line.trim() === "") continue;
      const act = acts[verb];
      if (act === undefined) throw new Error(`${file}:${index + 1}: unknown command ${verb}`);
      try {
        await act(session, rest, negation !== undefined);
      } catch (error) {
        throw new Error(`${file}:${index + 1}: ${line}\n${session.last.stderr}`, { cause: error });
      }
    }
  },
  120_000,
);
