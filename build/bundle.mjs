// Builds the two programs, each one executable file with no runtime dependency, and the notices of what is inside them.
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const { version } = JSON.parse(readFileSync("package.json", "utf8"));
const programs = { sealwright: "cli/main.ts", "sealwright-controller": "controller/main.ts" };

/** Runs before anything of ours, in syntax that old versions parse; dependencies in CommonJS expect a `require`. */
const banner = (name) => `// ${name} ${version}, Apache-2.0. Third-party notices: THIRD-PARTY-NOTICES.txt
import { createRequire as sealwrightCreateRequire } from "node:module";
var sealwrightNode = process.versions.node.split(".").map(Number);
if (sealwrightNode[0] < 22 || (sealwrightNode[0] === 22 && sealwrightNode[1] < 19)) {
  console.error("${name}: needs Node 22.19 or newer, this is " + process.versions.node + "; install Node 24 from nodejs.org");
  process.exit(1);
}
const require = sealwrightCreateRequire(import.meta.url);`;

const inputs = new Set();
for (const [name, entry] of Object.entries(programs)) {
  const outfile = `dist/${name}.js`;
  const { metafile } = await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    minify: true,
    keepNames: false,
    legalComments: "none",
    metafile: true,
    logLevel: "warning",
    banner: { js: banner(name) },
    define: {
      SEALWRIGHT_VERSION: JSON.stringify(version),
      SEALWRIGHT_CRD: JSON.stringify(readFileSync("controller/deploy/crd/sealedsecrets.yaml", "utf8")),
    },
  });
  chmodSync(outfile, 0o755);
  for (const input of Object.keys(metafile.inputs)) inputs.add(input);
}
mkdirSync("dist", { recursive: true });
writeFileSync("dist/THIRD-PARTY-NOTICES.txt", notices());

function notices() {
  const folders = [...inputs].map((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]);
  const packages = [...new Set(folders.filter((folder) => folder !== undefined))].sort();
  return packages.map(notice).join(`\n${"-".repeat(80)}\n\n`);
}

function notice(folder) {
  const { name, version: itsVersion, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = readdirSync(folder).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
  const path = file === undefined ? undefined : `${folder}/${file}`;
  const text = path !== undefined && existsSync(path) ? readFileSync(path, "utf8") : `Licence: ${license}\n`;
  return `${name} ${itsVersion} (${license})\n\n${text}`;
}
