import { pino } from "pino";
import { SecretError } from "../formats/errors.ts";

/** What may stand beside a message: names and numbers. Bytes, objects and foreign errors have no way in. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined | SecretError>>;

/** Writes one line. Never throws, needs no receiver. A {@link SecretError} becomes its code and its message. */
export type LogLine = (message: string, fields?: LogFields) => void;

/** The log, by level. */
export interface Log {
  readonly debug: LogLine;
  readonly info: LogLine;
  readonly warn: LogLine;
  readonly error: LogLine;
}

/** Takes whole lines, their ends included. */
export interface LogSink {
  write: (line: string) => void;
}

/** How to log. */
export interface LogOptions {
  level: "DEBUG" | "INFO" | "WARN" | "ERROR";
  /** `text`: `time=... level=INFO msg="..." key=value`, as Go's slog writes it. `json`: one object a line, same names. */
  format: "text" | "json";
  /** Lines up to INFO go to stdout; otherwise every line goes to stderr. */
  infoToStdout: boolean;
  /** Instead of the process's own. */
  stdout?: LogSink;
  stderr?: LogSink;
}

/** pino leaves the parts of the line on a stream that has this mark. */
const wantsParts = Symbol.for("pino.metadata");
const levelNames: Readonly<Record<number, string>> = { 20: "DEBUG", 30: "INFO", 40: "WARN", 50: "ERROR" };
const warnLevel = 40;

/** Makes a log that writes synchronously, so that the last lines before an exit are not lost. */
export function createLog(options: LogOptions): Log {
  const settings = {
    level: options.level.toLowerCase(),
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label.toUpperCase() }) },
  };
  const logger = pino(settings, new Lines(options));
  const at =
    (level: "debug" | "info" | "warn" | "error"): LogLine =>
    (message, fields = {}) =>
      logger[level](scalars(fields), message);
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

type Scalars = Record<string, string | number | boolean>;

function scalars(fields: LogFields): Scalars {
  const kept: Scalars = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof SecretError) Object.assign(kept, { code: value.code, [name]: value.message });
    else if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") {
      kept[name] = value;
    }
  }
  return kept;
}

/** Formats each line and sends it where its level belongs. */
class Lines implements LogSink {
  readonly [wantsParts] = true;
  lastLevel = 0;
  lastMsg = "";
  lastObj: Scalars = {};
  readonly #isText: boolean;
  readonly #infoToStdout: boolean;
  readonly #stdout: LogSink;
  readonly #stderr: LogSink;

  constructor({ format, infoToStdout, stdout, stderr }: LogOptions) {
    this.#isText = format === "text";
    this.#infoToStdout = infoToStdout;
    this.#stdout = stdout ?? pino.destination({ dest: 1, sync: true });
    this.#stderr = stderr ?? pino.destination({ dest: 2, sync: true });
  }

  write(line: string): void {
    const sink = this.#infoToStdout && this.lastLevel < warnLevel ? this.#stdout : this.#stderr;
    sink.write(this.#isText ? this.#textLine() : line);
  }

  #textLine(): string {
    const parts: Scalars = {
      time: new Date().toJSON(),
      level: levelNames[this.lastLevel] ?? "ERROR",
      msg: this.lastMsg,
      ...this.lastObj,
    };
    const words = Object.entries(parts).map(([name, value]) => `${word(name)}=${word(String(value))}`);
    return `${words.join(" ")}\n`;
  }
}

/** Quotes as slog does. Control, format and line-breaking characters never reach a terminal as they are. */
function word(text: string): string {
  if (text !== "" && !/[\s"=\p{C}]/u.test(text)) return text;
  return JSON.stringify(text).replace(/[\p{C}\u2028\u2029]/gu, escapeCharacter);
}

function escapeCharacter(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}
