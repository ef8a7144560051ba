#!/usr/bin/env node
import { randomUUID } from "node:crypto";
import { homedir, hostname, tmpdir } from "node:os";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { asSecretError, codes, SecretError } from "../formats/errors.ts";
import { Controller, type ControllerOptions } from "./controller.ts";
import { customResourceDefinitions } from "./crd.ts";
import type { EmbeddedApi } from "./embedded/api.ts";
import { controllerUsage, parseControllerFlags, type ControllerFlags } from "./flags.ts";
import { fieldManager, loadKube, type Kube } from "./kube.ts";
import { createLog, type Log } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { startServer, type RunningServer } from "./server.ts";
import { programVersion } from "./version.ts";

/** Kubernetes kills after 30 s by default; a drain should not wait so long. */
const graceMs = 8_000;
/** Where a stock kubeseal looks for the controller. */
const embeddedService = { namespace: "kube-system", name: "sealed-secrets-controller" };

async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const flags = parseControllerFlags(argv, env);
  if (flags.help) return void process.stdout.write(controllerUsage());
  if (flags.version) return void process.stdout.write(`controller version: v${programVersion()}\n`);
  const log = createLog({
    format: flags.logFormat,
    level: flags.logLevel,
    infoToStdout: flags.logInfoStdout,
  });
  const metrics = new Metrics({
    revision: programVersion(),
    omitSecretLabels: flags.metricsOmitSecretLabels,
  });
  for (const warning of flags.warnings) log.warn(warning);
  log.info("Starting sealed-secrets controller", { version: programVersion() });
  if (flags.given.has("max-unseal-retries"))
    log.info("max-unseal-retries has no effect: a failure is never final");
  await run(flags, { env, log, metrics });
}

async function run(
  flags: ControllerFlags,
  { env, log, metrics }: { env: NodeJS.ProcessEnv; log: Log; metrics: Metrics },
): Promise<void> {
  const embedded = await startEmbedded(flags, log);
  const kube = await loadKube({
    env,
    kubeconfig: embedded?.kubeconfigPath ?? flags.kubeconfig,
    context: flags.context,
    userAgent: `${fieldManager}/${programVersion()}`,
    ...(flags.given.has("kubeclient-qps") ? { qps: flags.kubeclientQps, burst: flags.kubeclientBurst } : {}),
    onRequest: (request) => metrics.apiRequest(request),
  });
  const controller = new Controller(
    controllerOptions(flags, { kube, log, metrics, env, embedded: embedded !== undefined }),
  );
  const server = await serve(flags, { controller, log, metrics });
  embedded?.setProxyTarget(
    embeddedService.namespace,
    embeddedService.name,
    `http://127.0.0.1:${server.port}`,
  );
  stopOnSignal({ controller, server, kube, embedded, log });
  process.on("SIGUSR1", () => {
    controller
      .renewKey()
      .catch((thrown: unknown) => log.error("no new sealing key", { code: asSecretError(thrown).code }));
  });
  await controller.start();
}

async function startEmbedded(flags: ControllerFlags, log: Log): Promise<EmbeddedApi | undefined> {
  if (flags.embedded === undefined) return undefined;
  const { startEmbeddedApi } = await import("./embedded/api.ts");
  const { directory } = flags.embedded;
  const kubeconfig = join(directory ?? mkdtempSync(join(tmpdir(), "sealwright-")), "kubeconfig");
  const api = await startEmbeddedApi({
    directory,
    port: flags.embeddedPort,
    kubeconfig,
    crds: customResourceDefinitions(),
  });
  log.info("embedded Kubernetes API serving", {
    url: api.url,
    kubeconfig: kubeconfig.replace(homedir(), "~"),
  });
  return api;
}

function controllerOptions(
  flags: ControllerFlags,
  {
    env,
    embedded,
    ...parts
  }: { kube: Kube; log: Log; metrics: Metrics; env: NodeJS.ProcessEnv; embedded: boolean },
): ControllerOptions {
  const namespace =
    env["POD_NAMESPACE"] ??
    (embedded ? embeddedService.namespace : (parts.kube.defaultNamespace ?? "default"));
  const own = flags.allNamespaces && flags.additionalNamespaces.length === 0 ? undefined : [namespace];
  return {
    ...parts,
    keyPolicy: {
      namespace,
      prefix: flags.keyPrefix,
      bits: flags.keySize,
      ttlMs: flags.keyTtl,
      renewPeriodMs: flags.keyRenewPeriod,
      cutoff: flags.keyCutoffTime,
      order: flags.keyOrderPriority,
      commonName: flags.myCn,
      labels: flags.privatekeyLabels,
      annotations: flags.privatekeyAnnotations,
    },
    namespaces: own === undefined ? undefined : [...new Set([...own, ...flags.additionalNamespaces])],
    labelSelector: flags.labelSelector === "" ? undefined : flags.labelSelector,
    workers: flags.workers,
    acceptBlob: flags.acceptDeprecatedV1Data,
    updatesStatus: flags.updateStatus,
    watchesSecrets: !flags.skipRecreate,
    deletesSecrets: flags.oldGcBehavior,
    // A pod's name is its host's; a container that starts again in it is another candidate.
    identity: flags.leaderElect ? `${hostname()}_${randomUUID()}` : undefined,
  };
}

function serve(
  flags: ControllerFlags,
  { controller, log, metrics }: { controller: Controller; log: Log; metrics: Metrics },
): Promise<RunningServer> {
  return startServer({
    listen: flags.listenAddr,
    metricsListen: flags.listenMetricsAddr,
    backend: {
      certificate: () => controller.keys.certificate,
      keys: () => controller.keys.ordered(),
      ready: () => controller.ready(),
    },
    log,
    metrics,
    acceptBlob: flags.acceptDeprecatedV1Data,
    limits: {
      rate: flags.rateLimit,
      burst: flags.rateLimitBurst,
      readTimeoutMs: flags.readTimeout,
      writeTimeoutMs: flags.writeTimeout,
    },
  });
}

interface Running {
  controller: Controller;
  server: RunningServer;
  kube: Kube;
  embedded: EmbeddedApi | undefined;
  log: Log;
}

function stopOnSignal(running: Running): void {
  let stopping: Promise<void> | undefined;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      stopping ??= stop(running, signal).catch(die);
    });
  }
}

async function stop({ controller, server, kube, embedded, log }: Running, signal: string): Promise<void> {
  log.info("stopping", { signal });
  await Promise.all([server.stop(graceMs), controller.stop(graceMs)]);
  kube.close();
  await embedded?.stop();
  log.info("stopped");
  process.exitCode = 0;
  // Whatever still holds the loop open, a socket that was cut or a timer, is of no use any more.
  setTimeout(() => process.exit(), 100).unref();
}

function die(thrown: unknown): void {
  const { code, message, hint } = asSecretError(thrown);
  const detail = thrown instanceof SecretError || !(thrown instanceof Error) ? "" : `\n${stackOf(thrown)}`;
  process.stderr.write(
    `sealwright-controller: error[${code}]: ${message}${detail}\n${hint === undefined ? "" : `hint: ${hint}\n`}`,
  );
  process.exitCode = codes[code].exit;
  setTimeout(() => process.exit(), 100).unref();
}

/** Where it happened, without the message, which may quote what was read. */
function stackOf(error: Error): string {
  return (error.stack ?? "")
    .split("\n")
    .filter((line) => /^\s+at /.test(line))
    .join("\n");
}

process.on("unhandledRejection", die);
process.on("uncaughtException", die);
main(process.argv.slice(2), process.env).catch(die);
