// Everything that must hold: the gate, the built programs, and all tests with the real peers and servers.
// The last line counts: "N passed, N failed". Nothing may be skipped.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const scratch = mkdtempSync(join(tmpdir(), "sealwright-test-"));
let passed = 0;
let failed = 0;

function run(program, args) {
  console.log(`> ${program} ${args.join(" ")}`);
  return spawnSync(program, args, { stdio: "inherit" }).status === 0;
}

function step(program, ...args) {
  if (run(program, args)) passed += 1;
  else failed += 1;
}

function tests(project) {
  const outputFile = join(scratch, `${project}.json`);
  const ok = run("vitest", [
    "run",
    "--project",
    project,
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${outputFile}`,
  ]);
  try {
    const report = JSON.parse(readFileSync(outputFile, "utf8"));
    passed += report.numPassedTests;
    const notRun = report.numPendingTests + report.numTodoTests;
    if (notRun > 0) console.error(`${notRun} tests of ${project} did not run`);
    failed += report.numFailedTests + notRun;
    // A file that fails before its first test counts no failed test.
    if (!ok && report.numFailedTests === 0) failed += Math.max(1, report.numFailedTestSuites);
  } catch {
    failed += 1;
  }
}

step("tsc", "--noEmit");
step("eslint", "--max-warnings=0", ".");
step("prettier", "--check", "--log-level=warn", ".");
step("node", "build/bundle.mjs");
step("node", "test/testbed/main.ts", "build");
for (const project of ["unit", "cli", "interop", "cluster"]) tests(project);
rmSync(scratch, { recursive: true, force: true });

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
