import { expect, test } from "vitest";
import { createLog, type LogFields, type LogOptions } from "../../controller/log.ts";
import { SecretError } from "../../formats/errors.ts";

function recorded(options: Partial<LogOptions> = {}) {
  const stdout: string[] = [];
  const stderr: string[] = [];
  const log = createLog({
    ...{ level: "DEBUG", format: "text", infoToStdout: true },
    ...options,
    stdout: { write: (line) => stdout.push(line) },
    stderr: { write: (line) => stderr.push(line) },
  });
  return { log, stdout, stderr };
}

test("text lines look as slog's", () => {
  const { log, stdout } = recorded();
  log.info("Updating", { key: "ns/name", attempt: 2, ok: true, empty: "", said: 'a "b"', gone: undefined });
  log.info("two words");
  expect(stdout[0]).toMatch(
    /^time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=INFO msg=Updating key=ns\/name attempt=2 ok=true empty="" said="a \\"b\\""\n$/,
  );
  expect(stdout[1]).toMatch(/ level=INFO msg="two words"\n$/);
});

test("JSON lines hold the same names", () => {
  const { log, stderr } = recorded({ format: "json" });
  log.warn("two words", { key: "ns/name", attempt: 2 });
  const line = JSON.parse(stderr[0]!) as Record<string, string>;
  expect(line).toEqual({ level: "WARN", time: line["time"], key: "ns/name", attempt: 2, msg: "two words" });
  expect(new Date(line["time"]!).toJSON()).toBe(line.time);
});

test("INFO and below go to stdout, the rest to stderr; without the switch all go to stderr", () => {
  const write = ({ log }: ReturnType<typeof recorded>) => {
    log.debug("d");
    log.info("i");
    log.warn("w");
    log.error("e");
  };
  const levels = (lines: string[]) => lines.map((line) => /level=(\w+)/.exec(line)![1]);
  const both = recorded();
  write(both);
  expect([levels(both.stdout), levels(both.stderr)]).toEqual([
    ["DEBUG", "INFO"],
    ["WARN", "ERROR"],
  ]);
  const one = recorded({ infoToStdout: false, level: "INFO" });
  write(one);
  expect([levels(one.stdout), levels(one.stderr)]).toEqual([[], ["INFO", "WARN", "ERROR"]]);
});

test("methods work without their object", () => {
  const { log, stderr } = recorded();
  const { error } = log;
  error("x");
  expect(stderr).toHaveLength(1);
});

test.each(["text", "json"] as const)(
  "T70 %s: a SecretError shows its code and message, never its cause",
  (format) => {
    const { log, stderr } = recorded({ format });
    const cause = new Error("canary-in-cause");
    log.error("failed", {
      error: new SecretError("CannotUnseal", "no key could decrypt secret (a)", { cause }),
    });
    expect(stderr[0]).toContain("CannotUnseal");
    expect(stderr[0]).toContain("no key could decrypt secret (a)");
    expect(stderr[0]).not.toContain("canary");
  },
);

test.each(["text", "json"] as const)("T70 %s: bytes, objects and foreign errors leave no trace", (format) => {
  const { log, stderr } = recorded({ format });
  const smuggled = {
    bytes: Buffer.from("canary"),
    object: { password: "canary" },
    error: new Error("canary"),
    list: ["canary"],
  } as unknown as LogFields;
  log.error("failed", smuggled);
  expect(stderr[0]).not.toMatch(/canary|99,97,110|Y2FuYXJ5/);
});

test("nobody writes lines of their own through a field", () => {
  const { log, stdout } = recorded();
  log.info("a\nlevel=ERROR", { key: "x\r\ny\u001b[31m\u2028\u202e\u{e0001}z" });
  expect(stdout[0]!.match(/\n/g)).toHaveLength(1);
  expect(stdout[0]).toMatch(/^[\x20-\x7e]+\n$/);
});
