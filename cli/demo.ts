import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { SecretError } from "../formats/errors.ts";
import { isObject, readManifests, type JsonObject } from "../formats/manifest.ts";
import { startDemoCluster, until, type DemoCluster } from "./demo-cluster.ts";
import { printResult } from "./terminal.ts";

const secretText = `apiVersion: v1
kind: Secret
metadata:
  name: shop-database
  namespace: default
stringData:
  user: shop
  password: correct horse battery staple
`;
const [secretPath, sealedPath] = [
  "/api/v1/namespaces/default/secrets/shop-database",
  "/apis/bitnami.com/v1alpha1/namespaces/default/sealedsecrets/shop-database",
];

/** Sets up `sealwright demo`. */
export function define(command: Command): void {
  command.addHelpText(
    "after",
    "\nNeeds nothing but Node and git: the cluster is a small one of our own, in a temporary directory.",
  );
  command.action(runDemo);
}

/** The whole story on a cluster of our own: seal, commit, unseal, break, heal, rotate, reseal. */
async function runDemo(): Promise<void> {
  const startedAt = performance.now();
  const directory = mkdtempSync(join(tmpdir(), "sealwright-demo-"));
  const repository = join(directory, "repository");
  mkdirSync(repository);
  await chapter(
    "A cluster",
    "A small Kubernetes API starts on loopback, with the controller and its first sealing key.",
  );
  const cluster = await startDemoCluster(join(directory, "cluster"));
  try {
    const story = new Story(cluster, repository);
    await story.sealAndCommit();
    await story.unseal();
    await story.breakAndHeal();
    await story.rotate();
    await story.steal();
  } finally {
    await cluster.stop();
    rmSync(directory, { recursive: true, force: true });
  }
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  await say(
    `\nThat was the whole story, in ${seconds} s. Nothing of it is left on this machine.\nNext: the tour against a real cluster, in README.md.\n`,
  );
}

class Story {
  readonly #cluster: DemoCluster;
  readonly #repository: string;
  readonly #sealedFile: string;

  constructor(cluster: DemoCluster, repository: string) {
    this.#cluster = cluster;
    this.#repository = repository;
    this.#sealedFile = join(repository, "shop-database.yaml");
  }

  async sealAndCommit(): Promise<void> {
    await chapter("Seal", "A Secret as it must never be committed:");
    await say(indented(secretText));
    await until(
      "the controller's certificate",
      () => this.#sealwright(["cert", "--fingerprint"]).catch(() => undefined),
      60,
    );
    await this.#show(["cert", "--fingerprint"]);
    const plain = join(this.#repository, "..", "secret.yaml");
    writeFileSync(plain, secretText, { mode: 0o600 });
    await this.#show(["seal", "-f", plain, "-w", this.#sealedFile]);
    rmSync(plain);
    await say(indented(shortened(readFileSync(this.#sealedFile, "utf8"))));
    await chapter(
      "Commit",
      "Only the cluster can open this, and only under this name in this namespace: it may go to Git.",
    );
    await this.#git("init", "--quiet", "--initial-branch=main");
    await this.#commit("shop: add the database credentials");
  }

  async unseal(): Promise<void> {
    await chapter(
      "Unseal",
      "Argo CD, Flux or kubectl applies what is in Git; the controller makes the Secret of it.",
    );
    await this.#apply();
    const secret = await this.#secret(
      (found) => entryOf(found, "password") === "correct horse battery staple",
    );
    await say(
      `Secret shop-database is there, entries: ${Object.keys(secret["data"] as object).join(", ")}\n`,
    );
    await say(`its SealedSecret says: ${await this.#synced()}\n`);
  }

  async breakAndHeal(): Promise<void> {
    await chapter("Break it", "Somebody edits the Secret by hand, and somebody else deletes it.");
    const edit = { data: { password: Buffer.from("changed by hand").toString("base64") } };
    let brokenAt = performance.now();
    await this.#cluster.send("PATCH", `${secretPath}?fieldManager=kubectl-edit`, edit);
    await this.#secret((found) => entryOf(found, "password") === "correct horse battery staple");
    await say(`edited: healed after ${(performance.now() - brokenAt).toFixed(0)} ms\n`);
    await say(`the event says: ${await this.#event("DriftHealed")}\n`);
    brokenAt = performance.now();
    await this.#cluster.send("DELETE", secretPath);
    await this.#secret((found) => entryOf(found, "password") === "correct horse battery staple");
    await say(`deleted: made again after ${(performance.now() - brokenAt).toFixed(0)} ms\n`);
  }

  async rotate(): Promise<void> {
    await chapter(
      "Rotate",
      "The controller makes a new sealing key; the file is re-encrypted to it, and the Secret stays as it is.",
    );
    const [oldPrint, before] = [
      await this.#sealwright(["cert", "--fingerprint"]),
      await this.#secret(() => true),
    ];
    this.#cluster.renewKey();
    await until(
      "the new key",
      async () => {
        const print = await this.#sealwright(["cert", "--fingerprint"]);
        return print === oldPrint ? undefined : print;
      },
      60,
    );
    await this.#show(["cert", "--fingerprint"]);
    await this.#show(["reseal", "-f", this.#sealedFile]);
    await this.#show(["verify", "-f", this.#sealedFile]);
    await this.#commit("shop: reseal to the new key");
    await this.#apply();
    await say(`its SealedSecret says: ${await this.#synced()}\n`);
    const after = await this.#secret(() => true);
    const same = versionOf(before) === versionOf(after);
    await say(
      same ? "the Secret was not written: its content is the same\n" : "the Secret was written again\n",
    );
  }

  async steal(): Promise<void> {
    await chapter("Steal it", "The sealed values, copied under another name, open for nobody.");
    const [manifest] = readManifests(readFileSync(this.#sealedFile));
    const stolen = { ...manifest?.object, metadata: { name: "stolen", namespace: "default" } };
    const path = sealedPath.replace("shop-database", "stolen");
    await this.#cluster.send("POST", path.replace(/\/stolen$/, ""), stolen);
    const condition = await this.#condition(path, "False");
    await say(`SealedSecret stolen says: ${condition}\n`);
  }

  async #apply(): Promise<void> {
    const [manifest] = readManifests(readFileSync(this.#sealedFile));
    const live = await this.#cluster.send("GET", sealedPath);
    const object = { ...manifest?.object };
    if (live === undefined) await this.#cluster.send("POST", sealedPath.replace(/\/[^/]+$/, ""), object);
    else await this.#cluster.send("PATCH", sealedPath, { spec: object["spec"] });
  }

  #secret(holds: (secret: JsonObject) => boolean): Promise<JsonObject> {
    return until("the Secret", async () => {
      const secret = await this.#cluster.send("GET", secretPath);
      return secret !== undefined && holds(secret) ? secret : undefined;
    });
  }

  #synced(): Promise<string> {
    return this.#condition(sealedPath, "True");
  }

  #condition(path: string, status: string): Promise<string> {
    return until(`a condition of ${path}`, async () => {
      const object = await this.#cluster.send("GET", path);
      const { observedGeneration, conditions } = (object?.["status"] ?? {}) as {
        observedGeneration?: number;
        conditions?: Record<string, string>[];
      };
      const isCurrent =
        observedGeneration === (object?.["metadata"] as { generation?: number } | undefined)?.generation;
      const [synced] = conditions ?? [];
      if (!isCurrent || synced?.["status"] !== status) return undefined;
      return `Synced ${status} ${synced["message"] ?? ""}`.trim();
    });
  }

  #event(reason: string): Promise<string> {
    return until(`event ${reason}`, async () => {
      const list = await this.#cluster.send("GET", "/api/v1/namespaces/default/events");
      const found = ((list?.["items"] ?? []) as JsonObject[]).find((event) => event["reason"] === reason);
      return typeof found?.["message"] === "string" ? found["message"] : undefined;
    });
  }

  async #commit(message: string): Promise<void> {
    await this.#git("add", ".");
    await this.#git(
      "-c",
      "user.name=demo",
      "-c",
      "user.email=demo@example.com",
      "commit",
      "--quiet",
      "-m",
      message,
    );
    await say(indented(await run("git", ["-C", this.#repository, "show", "--stat", "--format=%s", "HEAD"])));
  }

  async #git(...args: string[]): Promise<void> {
    if (!args.includes("-c")) await say(`$ git ${args.join(" ")}\n`);
    await run("git", ["-C", this.#repository, ...args]);
  }

  async #show(args: string[]): Promise<void> {
    const shown = args.map((argument) => argument.replace(/^.*\/(?=[^/]+\.yaml$)/, ""));
    await say(`$ sealwright ${shown.join(" ")}\n`);
    await say(indented(await this.#sealwright(args)));
  }

  #sealwright(args: string[]): Promise<string> {
    return run(process.execPath, [process.argv[1] ?? "", ...args, "--kubeconfig", this.#cluster.kubeconfig]);
  }
}

let chapters = 0;

async function chapter(title: string, text: string): Promise<void> {
  chapters += 1;
  await say(`\n${chapters}. ${title}\n${text}\n`);
}

function say(text: string): Promise<void> {
  return printResult(text);
}

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, "    ");
}

/** Ciphertext is long and looks all alike. */
function shortened(text: string): string {
  return text.replace(/([A-Za-z0-9+/]{24})[A-Za-z0-9+/=]{40,}/g, "$1...");
}

function entryOf(secret: JsonObject, name: string): string | undefined {
  const value = isObject(secret["data"]) ? secret["data"][name] : undefined;
  return typeof value === "string" ? Buffer.from(value, "base64").toString("utf8") : undefined;
}

function versionOf(object: JsonObject): unknown {
  return isObject(object["metadata"]) ? object["metadata"]["resourceVersion"] : undefined;
}

function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    const refuse = (): void =>
      reject(
        new SecretError("Internal", `the demo's command failed: ${program} ${args[0] ?? ""}`, {
          hint: "run it by hand to see why; the demo needs git on the PATH",
        }),
      );
    let [out, err] = ["", ""];
    child.stdout.on("data", (text: Buffer) => (out += text.toString("utf8")));
    child.stderr.on("data", (text: Buffer) => (err += text.toString("utf8")));
    child.once("error", refuse);
    child.once("close", (code) => (code === 0 ? resolve(out + err) : refuse()));
  });
}
