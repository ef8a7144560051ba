import { existsSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { SecretError } from "../formats/errors.ts";
import type { SealingCertificate } from "../formats/sealing-certificate.ts";
import type { Flags } from "./flags.ts";
import { readInputFile } from "./input.ts";
import { updateFile } from "./output-file.ts";

/**
 * Pins: the fingerprints of the sealing certificates that a repository trusts, kept in it. A pin file has one a line; what
 * follows `#` is a remark.
 */
const pinFile = join(".sealwright", "pin");
const fingerprint = /^SHA256:[A-Za-z0-9+/]{43}$/;

/**
 * The pins that hold for a command: its own, else those of the pin file. Several are alternatives, as while a key is renewed.
 * @throws SecretError `Usage` for a text that is no fingerprint; `FileUnusable` where a named pin file cannot be read
 */
export async function pinsOf(flags: Flags): Promise<string[]> {
  const given = flags.pin ?? listOf(process.env["SEALWRIGHT_CERT_PIN"]);
  if (given.length > 0) return given.map((text) => requireFingerprint(text, "the pin"));
  const file = flags.pinFile ?? nearestPinFile();
  if (file === undefined || (flags.savePin === true && !existsSync(file))) return [];
  const lines = Buffer.from(await readInputFile(file))
    .toString("utf8")
    .split("\n");
  const pins = lines.map((line) => line.replace(/#.*/, "").trim()).filter((line) => line !== "");
  return pins.map((pin) => requireFingerprint(pin, `a line of ${file}`));
}

function listOf(text = ""): string[] {
  return text.split(",").filter((part) => part.trim() !== "");
}

function requireFingerprint(text: string, what: string): string {
  const pin = text.trim();
  if (fingerprint.test(pin)) return pin;
  throw new SecretError("Usage", `${what} is not a fingerprint`, {
    hint: "a fingerprint reads SHA256: and 43 characters; `sealwright cert --fingerprint` prints it",
  });
}

/** The pin file of the repository that we are in: in this directory or one above it, up to the one that has `.git`. */
function nearestPinFile(): string | undefined {
  for (let at = process.cwd(); ; at = dirname(at)) {
    const file = join(at, pinFile);
    if (statSync(file, { throwIfNoEntry: false })?.isFile() === true) return file;
    if (existsSync(join(at, ".git")) || dirname(at) === at) return undefined;
  }
}

/** Holds a certificate to the pins; without pins every one passes. @throws SecretError `CertificateNotPinned` */
export function requirePinned(certificate: SealingCertificate, pins: readonly string[]): void {
  if (pins.length === 0 || pins.includes(certificate.fingerprint)) return;
  throw new SecretError(
    "CertificateNotPinned",
    `the certificate's fingerprint ${certificate.fingerprint} is not pinned`,
    {
      hint: "compare it with the cluster's own; if its key was renewed, pin the new one with `sealwright cert --save-pin --pin ...`",
    },
  );
}

/** Adds a fingerprint to the pin file that the flags name, or to the repository's. @returns the file's path */
export async function savePin(certificate: SealingCertificate, flags: Flags): Promise<string> {
  const file = resolve(flags.pinFile ?? nearestPinFile() ?? pinFile);
  await mkdir(dirname(file), { recursive: true });
  const until = certificate.notAfter.toISOString().slice(0, 10);
  await updateFile(file, (bytes) => {
    const before = bytes === undefined ? "" : Buffer.from(bytes).toString("utf8");
    if (before.includes(certificate.fingerprint)) return before;
    const kept = before === "" || before.endsWith("\n") ? before : `${before}\n`;
    return `${kept}${certificate.fingerprint} # valid until ${until}\n`;
  });
  return file;
}
