import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import { startEmbeddedApi } from "./api.ts";
import { isObject } from "./objects.ts";

// node controller/embedded/serve.ts KUBECONFIG [DIRECTORY [CRD-FILE...]]: the API alone, for experiments and tests.
const [kubeconfigPath, directory, ...files] = process.argv.slice(2);
const crds = files
  .flatMap((file) => parseAllDocuments(readFileSync(file, "utf8")))
  .map((document) => document.toJS() as unknown)
  .filter(isObject);
const api = await startEmbeddedApi({
  kubeconfig: kubeconfigPath,
  directory: directory === "" ? undefined : directory,
  crds,
  onFailure: (failure) => console.error(failure),
});
process.stdout.write(`${api.url}\n`);
const stop = (): void => void api.stop().then(() => process.exit(0));
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
