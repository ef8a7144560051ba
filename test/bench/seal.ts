import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { issueKey } from "../../formats/issue-key.ts";
import { tool } from "../testbed/tools.ts";
import { printPairs } from "./pairs.ts";

const runs = 15;

/** `seal` of one Secret from a certificate file, as whole processes: against kubeseal, and against Node's bare start. */
export async function benchSeal(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "sealwright-bench-"));
  try {
    const [secret, certificate] = [join(directory, "secret.yaml"), join(directory, "cert.pem")];
    const key = await issueKey({ bits: 4096, commonName: "", notBefore: new Date(), ttlSeconds: 86_400 });
    writeFileSync(certificate, key.certificatePem);
    writeFileSync(
      secret,
      "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {user: eve, password: hunter2}\n",
    );
    const kubeseal = await tool("kubeseal");
    const seal = (): number =>
      millisecondsOf(process.execPath, ["dist/sealwright.js", "seal", "--cert", certificate, "-f", secret]);
    const peer = (): number => millisecondsOf(kubeseal, ["--cert", certificate, "-f", secret]);
    const bare = (): number => millisecondsOf(process.execPath, ["-e", "0"]);
    for (const warmUp of [seal, peer, bare]) warmUp();
    const rounds = Array.from({ length: runs }, () => ({ ours: seal(), theirs: peer(), bare: bare() }));
    const ours = rounds.map((round) => round.ours);
    printPairs({
      title: "seal one Secret, against kubeseal",
      unit: "ms",
      ours,
      theirs: rounds.map((round) => round.theirs),
    });
    printPairs({
      title: "seal one Secret, against `node -e 0`",
      unit: "ms",
      ours,
      theirs: rounds.map((round) => round.bare),
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function millisecondsOf(program: string, args: readonly string[]): number {
  const start = performance.now();
  const { status, stderr } = spawnSync(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  if (status !== 0) throw new Error(`${program} ended with ${status ?? "a signal"}: ${stderr.toString()}`);
  return performance.now() - start;
}
