import { readFileSync } from "node:fs";

declare const SEALWRIGHT_VERSION: string | undefined;

/** This program's version: built in, or from the checkout that the sources run in. */
export function programVersion(): string {
  if (typeof SEALWRIGHT_VERSION === "string") return SEALWRIGHT_VERSION;
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
