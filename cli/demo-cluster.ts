import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, openSync, readFileSync } from "node:fs";
import { request } from "node:https";
import type { IncomingMessage } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SecretError } from "../formats/errors.ts";
import type { JsonObject } from "../formats/manifest.ts";
import { connect, type Connection } from "./cluster.ts";

/** The embedded Kubernetes API with our controller in front of it, in a process of its own. */
export interface DemoCluster {
  kubeconfig: string;
  /** The parsed answer; `undefined` for 404. @throws SecretError for any other refusal */
  send: (
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
    path: string,
    body?: JsonObject,
  ) => Promise<JsonObject | undefined>;
  /** Asks the controller for a new sealing key. */
  renewKey: () => void;
  stop: () => Promise<void>;
}

const startSeconds = 60;

/** Starts the controller with its embedded API in a directory. @throws SecretError `RemoteUnavailable` where it does not come up */
export async function startDemoCluster(directory: string): Promise<DemoCluster> {
  const kubeconfig = join(directory, "kubeconfig");
  const flags = [`--embedded=${directory}`, "--listen-addr=127.0.0.1:0", "--listen-metrics-addr=127.0.0.1:0"];
  const logFile = join(dirname(directory), "controller.log");
  const log = openSync(logFile, "a", 0o600);
  const controller = spawn(process.execPath, [controllerProgram(), ...flags], {
    stdio: ["ignore", log, log],
  });
  process.once("exit", () => controller.kill("SIGKILL"));
  await until(
    "the embedded cluster to start",
    () => (existsSync(kubeconfig) || controller.exitCode !== null ? true : undefined),
    startSeconds,
  );
  if (controller.exitCode !== null) {
    throw new SecretError("RemoteUnavailable", "the embedded cluster did not start", {
      hint: lastLine(logFile),
    });
  }
  const connection = await connect({ kubeconfig });
  return {
    kubeconfig,
    send: (method, path, body) => send(connection, { method, path, body }),
    renewKey: () => controller.kill("SIGUSR1"),
    stop: () => stop(controller),
  };
}

function lastLine(file: string): string {
  return readFileSync(file, "utf8").trim().split("\n").at(-1) ?? "";
}

/** Beside this program when it is built, in the checkout otherwise. */
function controllerProgram(): string {
  const places = ["./sealwright-controller.js", "../controller/main.ts"].map((place) =>
    fileURLToPath(new URL(place, import.meta.url)),
  );
  const found = places.find((place) => existsSync(place));
  if (found !== undefined) return found;
  throw new SecretError("FileUnusable", "sealwright-controller.js is not beside this program", {
    hint: "build it with `npm run build`",
  });
}

async function stop(controller: ChildProcess): Promise<void> {
  if (controller.exitCode !== null) return;
  const ended = new Promise((resolve) => controller.once("exit", resolve));
  controller.kill("SIGTERM");
  await ended;
}

async function send(
  { server, agent, headers }: Connection,
  { method, path, body }: { method: string; path: string; body: JsonObject | undefined },
): Promise<JsonObject | undefined> {
  const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const call = request(
      new URL(path, server),
      { method, agent, headers: { ...headers, "Content-Type": type } },
      resolve,
    );
    call.once("error", reject).end(body === undefined ? undefined : JSON.stringify(body));
  });
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  const { statusCode = 0 } = response;
  if (statusCode === 404) return undefined;
  if (statusCode >= 300)
    throw new SecretError(
      "RemoteUnavailable",
      `the embedded cluster refused ${method} ${path} (${statusCode})`,
    );
  return JSON.parse(Buffer.concat(chunks).toString("utf8")) as JsonObject;
}

/** Asks every 20 ms until the answer is not `undefined`. @throws SecretError `RemoteUnavailable` when the time is over */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  seconds = 30,
): Promise<T> {
  const deadline = performance.now() + seconds * 1000;
  while (performance.now() < deadline) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new SecretError("RemoteUnavailable", `waited ${seconds} s in vain for ${what}`, {
    hint: "run the demo again; a machine under load may be too slow",
  });
}
