import { readFileSync } from "node:fs";
import { readManifests } from "../formats/manifest.ts";
import type { JsonObject } from "./embedded/objects.ts";

declare const SEALWRIGHT_CRD: string | undefined;

/** The CustomResourceDefinitions that the embedded API starts with: built in, or from the checkout. */
export function customResourceDefinitions(): JsonObject[] {
  const text =
    typeof SEALWRIGHT_CRD === "string"
      ? SEALWRIGHT_CRD
      : readFileSync(new URL("./deploy/crd/sealedsecrets.yaml", import.meta.url), "utf8");
  return readManifests(Buffer.from(text)).map(({ object }) => object as JsonObject);
}
