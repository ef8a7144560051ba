// The gate for every commit, under a minute: Node's version first, then types, lint, format and unit tests.
import { spawnSync } from "node:child_process";

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  console.error(`node ${process.versions.node} is too old; run this through npm, which brings Node 24`);
  process.exit(1);
}

const steps = [
  ["tsc", "--noEmit"],
  ["eslint", "--max-warnings=0", "."],
  ["prettier", "--check", "--log-level=warn", "."],
  ["vitest", "run", "--project", "unit"],
];
for (const [program, ...args] of steps) {
  console.log(`> ${program} ${args.join(" ")}`);
  const { status } = spawnSync(program, args, { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
