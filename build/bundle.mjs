// Builds the two programs, each one executable file with no runtime dependency, and the notices of what is inside them.
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { brotliCompressSync } from "node:zlib";
import { build } from "esbuild";

const { version } = JSON.parse(readFileSync("package.json", "utf8"));
const programs = { sealwright: "cli/main.ts", "sealwright-controller": "controller/main.ts" };

/** Runs before anything of ours, in syntax that old versions parse; dependencies in CommonJS expect a `require`. */
const banner = (name) => `// ${name} ${version}, Apache-2.0. Third-party notices: THIRD-PARTY-NOTICES.txt
var sealwrightNode = process.versions.node.split(".").map(Number);
if (sealwrightNode[0] < 22 || (sealwrightNode[0] === 22 && sealwrightNode[1] < 19)) {
  console.error("${name}: needs Node 22.19 or newer, this is " + process.versions.node + "; install Node 24 from nodejs.org");
  process.exit(1);
}
const require = process.getBuiltinModule("node:module").createRequire(import.meta.url);`;

const common = {
  bundle: true,
  platform: "node",
  target: "node20",
  minify: true,
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
};
const inputs = new Set();

async function bundle(options) {
  const result = await build({ ...common, ...options });
  for (const input of Object.keys(result.metafile.inputs)) inputs.add(input);
  return result;
}

/** An import statement would load every built-in module that any verb uses at each start; this loads it where it is used. */
const lazyBuiltins = {
  name: "lazy-builtins",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: "builtin" }));
    onLoad({ filter: /./, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
    }));
  },
};

/** The Kubernetes client is three quarters of the program and most verbs do without: packed, it is not even parsed. */
const lazyKubernetesClient = {
  name: "lazy-kubernetes-client",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^@kubernetes\/client-node\// }, ({ path, kind }) =>
      kind === "dynamic-import" ? { path, namespace: "packed" } : undefined,
    );
    onLoad({ filter: /./, namespace: "packed" }, async ({ path }) => {
      const { outputFiles } = await bundle({
        entryPoints: [path],
        format: "cjs",
        write: false,
        outfile: "client.js",
      });
      const packed = brotliCompressSync(outputFiles[0].contents).toString("base64");
      return {
        contents: `
          const { brotliDecompressSync } = require("node:zlib");
          const code = brotliDecompressSync(Buffer.from("${packed}", "base64")).toString("utf8");
          new Function("module", "exports", "require", code)(module, module.exports, require);`,
      };
    });
  },
};

for (const [name, entry] of Object.entries(programs)) {
  const outfile = `dist/${name}.js`;
  await bundle({
    entryPoints: [entry],
    outfile,
    format: "esm",
    banner: { js: banner(name) },
    plugins: [lazyBuiltins, lazyKubernetesClient],
    define: {
      SEALWRIGHT_VERSION: JSON.stringify(version),
      SEALWRIGHT_CRD: JSON.stringify(readFileSync("controller/deploy/crd/sealedsecrets.yaml", "utf8")),
    },
  });
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
