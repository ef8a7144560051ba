import { readFileSync } from "node:fs";

declare const SEALWRIGHT_VERSION: string | undefined;

/** The program's version. A build puts it in place; run from the sources, it is the one of `package.json`. */
export const version: string =
  typeof SEALWRIGHT_VERSION === "string"
    ? SEALWRIGHT_VERSION
    : (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string })
        .version;
