import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { issueKey } from "../../formats/issue-key.ts";
import { parseCertificate, type SealingCertificate } from "../../formats/sealing-certificate.ts";
import { parsePrivateKey, type SealingKey } from "../../formats/sealing-key.ts";
import { guard, run } from "../testbed/process.ts";
import { tool } from "../testbed/tools.ts";

/** A sealing key with its files, as each side takes them. */
export interface KeyFiles {
  bits: number;
  certificate: SealingCertificate;
  key: SealingKey;
  certificateFile: string;
  keyFile: string;
}

const directory = mkdtempSync(join(tmpdir(), "sealwright-interop-"));
guard.deleteAtEnd(directory);
const kubesealPath = await tool("kubeseal");

/** Keys of every size that is in use. */
export const keys: readonly KeyFiles[] = await Promise.all([2048, 2048, 3072, 4096].map(keyFiles));

async function keyFiles(bits: number, index: number): Promise<KeyFiles> {
  const notBefore = new Date(Date.now() - 3_600_000);
  const issued = await issueKey({ bits, commonName: "", notBefore, ttlSeconds: 86_400 });
  const certificateFile = join(directory, `${index}.crt`);
  const keyFile = join(directory, `${index}.key`);
  writeFileSync(certificateFile, issued.certificatePem);
  writeFileSync(keyFile, issued.privateKeyPem, { mode: 0o600 });
  const [certificate, key] = [
    parseCertificate(issued.certificatePem),
    await parsePrivateKey(issued.privateKeyPem),
  ];
  return { bits, certificate, key, certificateFile, keyFile };
}

/**
 * Runs the real kubeseal, with no cluster in reach.
 * @returns its stdout
 * @throws Error with its stderr where it fails
 */
export async function kubeseal(args: readonly string[], stdin: string | Uint8Array): Promise<string> {
  const { code, stdout, stderr } = await run(kubesealPath, args, { stdin, env: { HOME: directory } });
  if (code !== 0) throw new Error(`kubeseal ${args.join(" ")} exited with ${code}: ${stderr}`);
  return stdout;
}

/** Runs our CLI from its sources. @throws Error with its stderr where it fails */
export async function sealwright(args: readonly string[], stdin: string | Uint8Array): Promise<string> {
  const { code, stdout, stderr } = await run(process.execPath, ["cli/main.ts", ...args], {
    stdin,
    env: { HOME: directory },
  });
  if (code !== 0) throw new Error(`sealwright ${args.join(" ")} exited with ${code}: ${stderr}`);
  return stdout;
}

/** Joins manifests into the input of one process. */
export function documents(texts: readonly string[]): string {
  return texts.map((text) => `---\n${text}`).join("");
}

/** Runs an act on every element, a few at a time, results in order. */
export async function inParallel<T, R>(
  elements: readonly T[],
  act: (element: T) => Promise<R>,
  atOnce = 3,
): Promise<R[]> {
  const results: R[] = [];
  const pending = elements.entries();
  const worker = async (): Promise<void> => {
    for (const [index, element] of pending) results[index] = await act(element);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}
