import { SecretError } from "../formats/errors.ts";

/** An address to listen on. */
export interface ListenAddress {
  /** Absent: all addresses of the machine. */
  host?: string;
  /** 0 lets the system choose. */
  port: number;
}

const unitMs = { ns: 1e-6, us: 1e-3, µs: 1e-3, μs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const rfc1123z =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) ([+-]\d\d)(\d\d)$/;
/** A qualified name: an optional DNS subdomain and a slash, then up to 63 characters. */
const qualifiedName =
  /^(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^(?:[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?)?$/;

function refuse(value: string, expected: string): never {
  throw new SecretError("Usage", `${JSON.stringify(value)} is not ${expected}`);
}

/** Reads a boolean in the spellings of Go. @throws SecretError `Usage` */
export function parseBoolean(text: string): boolean {
  if (/^(?:1|t|T|true|TRUE|True)$/.test(text)) return true;
  if (/^(?:0|f|F|false|FALSE|False)$/.test(text)) return false;
  return refuse(text, "true or false");
}

/** Makes a reader of whole numbers within bounds, both included. */
export function integerWithin(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
    return value >= least && value <= most ? value : refuse(text, `a whole number from ${least} to ${most}`);
  };
}

/** Reads a finite decimal number. @throws SecretError `Usage` */
export function parseNumber(text: string): number {
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : refuse(text, "a number");
}

/** Makes a reader of durations in Go's syntax (`720h`, `1h30m`, `1.5s`, `0`), in ms, at least `leastMs`. */
export function durationAtLeast(leastMs: number): (text: string) => number {
  return (text) => {
    const ms = durationMs(text) ?? refuse(text, "a duration such as 720h, 1h30m or 90s");
    return ms >= leastMs
      ? ms
      : refuse(text, leastMs === 0 ? "0 or a positive duration" : "a positive duration");
  };
}

function durationMs(text: string): number | undefined {
  const [, sign, body = ""] = /^([+-]?)(.+)$/.exec(text) ?? [];
  const parts = [...body.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)];
  if (body !== "0" && (parts.length === 0 || parts.map(([part]) => part).join("") !== body)) return undefined;
  const sum = parts.reduce(
    (ms, [, count, unit]) => ms + Number(count) * unitMs[unit as keyof typeof unitMs],
    0,
  );
  return sign === "-" ? -sum : sum;
}

/** Makes a reader of one of several words; case does not matter. */
export function oneOf<const Word extends string>(...words: Word[]): (text: string) => Word {
  return (text) =>
    words.find((word) => word.toLowerCase() === text.toLowerCase()) ?? refuse(text, words.join(" or "));
}

/**
 * Reads `k=v,k=v`, holding keys to the syntax of Kubernetes, and values too where they are to be labels.
 * @throws SecretError `Usage`
 */
export function parsePairs(text: string, kind: "annotation" | "label"): Record<string, string> {
  const entries = text === "" ? [] : text.split(",");
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf("=");
      if (at < 1) return refuse(entry, "of the form key=value");
      const [key, value] = [entry.slice(0, at).trim(), entry.slice(at + 1)];
      if (!qualifiedName.test(key))
        return refuse(key, `the name of ${kind === "label" ? "a label" : "an annotation"}`);
      if (kind === "label" && !labelValue.test(value)) return refuse(value, "the value of a label");
      return [key, value];
    }),
  );
}

/** Reads a comma-separated list; spaces and empty places are dropped, repetitions too. */
export function parseList(text: string): string[] {
  return [...new Set(text.split(",").map((entry) => entry.trim()))].filter((entry) => entry !== "");
}

/** Reads the prefix of key Secrets' names: five random characters must still fit behind it. @throws SecretError `Usage` */
export function parseKeyPrefix(text: string): string {
  const fits = /^[a-z0-9][-a-z0-9]{0,244}$/.test(text);
  return fits ? text : refuse(text, "1 to 245 of a-z, 0-9 and -, the first not a -");
}

/** Reads a date such as `Mon, 02 Jan 2006 15:04:05 -0700`; empty for none. @throws SecretError `Usage` */
export function parseRfc1123z(text: string): Date | undefined {
  if (text === "") return undefined;
  const [, day, month = "", year, hour, minute, second, zoneHours = "", zoneMinutes] =
    rfc1123z.exec(text) ?? [];
  const monthNumber = String(months.indexOf(month) + 1).padStart(2, "0");
  const stated = `${year ?? ""}-${monthNumber}-${day ?? ""}`;
  const time = `${hour ?? ""}:${minute ?? ""}:${second ?? ""}`;
  const date = new Date(`${stated}T${time}${zoneHours}:${zoneMinutes ?? ""}`);
  // Date takes 30 February for 1 March.
  const exists = !Number.isNaN(date.getTime()) && new Date(`${stated}T00:00:00Z`).toJSON().startsWith(stated);
  return exists
    ? date
    : refuse(text, "a date such as Mon, 02 Jan 2006 15:04:05 -0700 (RFC 1123, numeric zone)");
}

/** Reads `:8080`, `127.0.0.1:8080` or `[::1]:8080`. @throws SecretError `Usage` */
export function parseListenAddress(text: string): ListenAddress {
  const [, bracketed, plain, port = ""] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? [];
  if (port === "" || Number(port) > 65_535) return refuse(text, "an address such as :8080 or 127.0.0.1:8080");
  const host = bracketed ?? plain ?? "";
  return host === "" ? { port: Number(port) } : { host, port: Number(port) };
}
