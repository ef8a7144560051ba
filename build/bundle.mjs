// Builds the two programs, each one executable file with no runtime dependency, and the notices of what is inside them.
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { bundleProgram } from "./program.mjs";

const { version } = JSON.parse(readFileSync("package.json", "utf8"));
const programs = { sealwright: "cli/main.ts", "sealwright-controller": "controller/main.ts" };
const define = {
  SEALWRIGHT_CRD: JSON.stringify(readFileSync("controller/deploy/crd/sealedsecrets.yaml", "utf8")),
};

const inputs = new Set();
for (const [name, entry] of Object.entries(programs)) {
  const outfile = `dist/${name}.js`;
  for (const input of await bundleProgram({ name, version, entry, outfile, define })) inputs.add(input);
  chmodSync(outfile, 0o755);
}
writeFileSync("dist/THIRD-PARTY-NOTICES.txt", notices());

function notices() {
  const folders = [...inputs].map((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]);
  const packages = [...new Set(folders.filter((folder) => folder !== undefined))].sort();
  return packages.map(notice).join(`\n${"-".repeat(80)}\n\n`);
}

function notice(folder) {
  const { name, version: itsVersion, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = readdirSync(folder).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
  const text = file === undefined ? `Licence: ${license}\n` : readFileSync(`${folder}/${file}`, "utf8");
  return `${name} ${itsVersion} (${license})\n\n${text}`;
}
