import { startCluster } from "../testbed/cluster.ts";
import { describeSealedSecrets } from "./sealed-secret-suite.ts";

describeSealedSecrets("a real API server", async () => {
  const cluster = await startCluster({ controllerManager: true });
  await cluster.kubectl(["apply", "-f", "controller/deploy/crd/sealedsecrets.yaml"]);
  return { kubeconfig: cluster.kubeconfig, stop: () => cluster.stop() };
});
