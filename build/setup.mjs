// Brings the dependencies, with Node 24 among them, before any other script runs. Plain JavaScript: it must run on Node 20.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";

const stamp = "node_modules/.sealwright-setup";
const wanted = createHash("sha256").update(readFileSync("package-lock.json")).digest("hex");

function isCurrent() {
  return existsSync(stamp) && readFileSync(stamp, "utf8") === wanted && existsSync("node_modules/.bin/node");
}

function npm(...args) {
  execFileSync("npm", args, { stdio: ["ignore", 2, 2] });
}

if (!isCurrent()) {
  process.stderr.write("installing dependencies (first run, or package-lock.json changed) ...\n");
  // Install scripts stay off, but for the one package whose script puts Node 24 in place.
  npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error");
  npm("rebuild", "node", "--ignore-scripts=false", "--foreground-scripts", "--loglevel=error");
  writeFileSync(stamp, wanted);
}
