import { randomBytes } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { SecretError } from "../../formats/errors.ts";

/** Writes a file for its owner alone; readers see the old content or the new. @throws FileUnusable */
export function writePrivateFile(path: string, text: string): void {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    writeFileSync(temporary, text, { mode: 0o600, flag: "wx", flush: true });
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new SecretError("FileUnusable", `cannot write ${path}`, {
      cause,
      hint: "check that the directory exists and is yours to write",
    });
  }
}

/** A kubeconfig for one cluster and one token, as JSON, which every YAML reader takes. */
export function kubeconfig({ url, caPem, token }: { url: string; caPem: string; token: string }): string {
  const name = "sealwright-embedded";
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      { name, cluster: { server: url, "certificate-authority-data": Buffer.from(caPem).toString("base64") } },
    ],
    users: [{ name, user: { token } }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: "default" } }],
    "current-context": name,
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}
