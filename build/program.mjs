// One of our programs as one file; the tests run what is built here, too.
import { isBuiltin } from "node:module";
import { build } from "esbuild";

/** Runs before anything of ours, in syntax that old versions parse; dependencies in CommonJS expect a `require`. */
const banner = (
  name,
  version,
) => `// ${name} ${version}, Apache-2.0. Third-party notices: THIRD-PARTY-NOTICES.txt
var sealwrightNode = process.versions.node.split(".").map(Number);
if (sealwrightNode[0] < 22 || (sealwrightNode[0] === 22 && sealwrightNode[1] < 19)) {
  console.error("${name}: needs Node 22.19 or newer, this is " + process.versions.node + "; install Node 24 from nodejs.org");
  process.exit(1);
}
const require = process.getBuiltinModule("node:module").createRequire(import.meta.url);`;

/** An import statement would load every built-in module that any verb uses at each start; this loads it where it is used. */
const lazyBuiltins = {
  name: "lazy-builtins",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /./ }, ({ path }) => (isBuiltin(path) ? { path, namespace: "builtin" } : undefined));
    onLoad({ filter: /./, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
    }));
  },
};

/** We take kubeconfigs and logins from the Kubernetes client; its API classes and its own transport are four fifths of it. */
const withoutApiClasses = {
  name: "without-api-classes",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^undici$|\/gen\/index\.js$/ }, ({ path, importer }) =>
      importer.endsWith("client-node/dist/config.js") ? { path, namespace: "unused" } : undefined,
    );
    onLoad({ filter: /./, namespace: "unused" }, () => ({ contents: "module.exports = {};" }));
  },
};

/** Bundles one program. @returns the files that went into it */
export async function bundleProgram({ name, version, entry, outfile, define = {} }) {
  const { metafile } = await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    minify: true,
    legalComments: "none",
    metafile: true,
    logLevel: "warning",
    banner: { js: banner(name, version) },
    plugins: [lazyBuiltins, withoutApiClasses],
    define: { SEALWRIGHT_VERSION: JSON.stringify(version), ...define },
  });
  return Object.keys(metafile.inputs);
}
