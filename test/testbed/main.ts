import { once } from "node:events";
import { startCluster } from "./cluster.ts";
import { tool, toolNames, versionOf } from "./tools.ts";

const usage = `usage: npm run testbed -- build   build every tool that the tests need into the cache
       npm run testbed -- up      start an API server with the SealedSecret type until Ctrl-C
`;

async function build(): Promise<void> {
  for (const name of toolNames) {
    const start = performance.now();
    const path = await tool(name);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    process.stdout.write(`${name} ${versionOf(name)}: ${path} (${seconds} s)\n`);
  }
}

async function up(): Promise<void> {
  const cluster = await startCluster({ sealedSecretType: true, controllerManager: true });
  try {
    process.stdout.write(`export KUBECONFIG=${cluster.kubeconfig}\n`);
    process.stdout.write(`alias kubectl=${await tool("kubectl")}\n`);
    process.stderr.write("ready; Ctrl-C ends it and deletes everything\n");
    await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
  } finally {
    await cluster.stop();
  }
}

switch (process.argv[2]) {
  case "build":
    await build();
    break;
  case "up":
    await up();
    break;
  default:
    process.stderr.write(usage);
    process.exitCode = 2;
}
