import { mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KubeObject } from "../../controller/kube.ts";
import { sealedSecrets } from "../../controller/sealed-secret.ts";
import { parseCertificate } from "../../formats/sealing-certificate.ts";
import { startSubject, type Subject } from "../cluster/subject.ts";
import { startCluster, type Cluster } from "../testbed/cluster.ts";
import { guard, run } from "../testbed/process.ts";
import { controllerName, startUpstreamController, type UpstreamController } from "../testbed/upstream.ts";
import { tool } from "../testbed/tools.ts";

/** Each side's program against each side's running controller. */

const directory = mkdtempSync(join(tmpdir(), "sealwright-services-"));
guard.deleteAtEnd(directory);
symlinkSync(resolve("cli/main.ts"), join(directory, "kubeseal"));

/** The rate limits of the controllers are not what is tested here. */
const unhurried = ["--rate-limit=1000", "--rate-limit-burst=1000"];
const upstreamNamespace = "upstream";

let cluster: Cluster;
let onReal: Subject;
let onEmbedded: Subject;
let upstream: UpstreamController;

beforeAll(async () => {
  cluster = await startCluster({ sealedSecretType: true });
  const { kubeconfig } = cluster;
  onReal = await startSubject({ kubeconfig, flags: unhurried, stop: () => Promise.resolve() });
  onEmbedded = await startSubject({ kubeconfig: undefined, flags: unhurried, stop: () => Promise.resolve() });
  const localPort = Number(new URL(onReal.url).port);
  await cluster.exposeService({ namespace: "kube-system", name: controllerName, localPort });
  upstream = await startUpstreamController(cluster, {
    namespace: upstreamNamespace,
    flags: ["--key-size=2048", "--all-namespaces=false", ...unhurried],
  });
});

afterAll(async () => {
  await upstream.stop();
  await onEmbedded.stop();
  await onReal.stop();
  await cluster.stop();
});

interface Done {
  code: number;
  stdout: string;
  stderr: string;
}

/** A program under one of its names, told how to reach a controller. */
type Program = (args: readonly string[], stdin?: string) => Promise<Done>;

/** The jobs that both command lines have, each in its own words. */
interface Words {
  cert: readonly string[];
  seal: readonly string[];
  verify: readonly string[];
  reseal: readonly string[];
}

const kubesealWords: Words = {
  cert: ["--fetch-cert"],
  seal: [],
  verify: ["--validate"],
  reseal: ["--re-encrypt"],
};
const verbs: Words = { cert: ["cert"], seal: ["seal"], verify: ["verify"], reseal: ["reseal"] };

/** Where the controller is, and what it answers directly. */
interface Site {
  kubeconfig: string;
  namespace: string;
  url: string;
}

const sites: Record<string, () => Site> = {
  "our controller through the API server": () => siteOf(onReal),
  "our controller through the embedded API": () => siteOf(onEmbedded),
  "the upstream controller": () => ({
    kubeconfig: cluster.kubeconfig,
    namespace: upstreamNamespace,
    url: `http://127.0.0.1:${upstream.httpPort}`,
  }),
};

function siteOf({ kubeconfig, url }: Subject): Site {
  return { kubeconfig, url, namespace: "kube-system" };
}

async function startProgram(
  kind: "stock" | "link" | "verbs",
  site: Site,
  args: readonly string[],
  stdin = "",
): Promise<Done> {
  const place = [`--kubeconfig=${site.kubeconfig}`, `--controller-namespace=${site.namespace}`];
  const env = { HOME: directory };
  if (kind === "stock") return run(await tool("kubeseal"), [...place, ...args], { stdin, env });
  const script = kind === "link" ? join(directory, "kubeseal") : "cli/main.ts";
  const ordered = kind === "link" ? [...place, ...args] : [...args, ...place];
  return run(process.execPath, [script, ...ordered], { stdin, env });
}

const secret = {
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name: "shop", namespace: "default", labels: { app: "shop" }, annotations: { note: "kept" } },
  data: { password: Buffer.from("correct horse").toString("base64") },
};

interface SealedObject extends KubeObject {
  spec: {
    encryptedData: Record<string, string>;
    template: { metadata: object; data?: object };
  };
}

function parse({ code, stdout, stderr }: Done): SealedObject {
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as SealedObject;
}

/** The same object under another name, where it must not open. */
function renamed(sealed: SealedObject): string {
  return JSON.stringify({ ...sealed, metadata: { ...sealed.metadata, name: "other" } });
}

const pairings = [
  ...(["stock", "link", "verbs"] as const).flatMap((kind) =>
    Object.keys(sites).map((where) => [kind, where] as const),
  ),
].filter(([kind, where]) => kind !== "stock" || !where.startsWith("the upstream"));
const titles = { stock: "stock kubeseal", link: "our program as kubeseal", verbs: "our verbs" };

describe.each(pairings.map(([kind, where]) => [titles[kind], where, kind] as const))(
  "%s against %s",
  (_, where, kind) => {
    const words = kind === "verbs" ? verbs : kubesealWords;
    let site: Site;
    let program: Program;
    let sealed: SealedObject;
    beforeAll(async () => {
      site = sites[where]!();
      program = (args, stdin) => startProgram(kind, site, args, stdin);
      sealed = parse(await program(words.seal, JSON.stringify(secret)));
    });

    test("the certificate is fetched", async () => {
      const { code, stdout } = await program(words.cert);
      expect(code).toBe(0);
      expect(stdout.trim()).toBe((await (await fetch(`${site.url}/v1/cert.pem`)).text()).trim());
    });

    test("a Secret is sealed without --cert, and that controller says it opens", async () => {
      expect(sealed).toMatchObject({
        apiVersion: "bitnami.com/v1alpha1",
        kind: "SealedSecret",
        metadata: { name: "shop", namespace: "default" },
        spec: { template: { metadata: { labels: { app: "shop" } } } },
      });
      const verified = await program(words.verify, JSON.stringify(sealed));
      expect(verified).toMatchObject({ code: 0, stdout: "" });
    });

    test("T04: under another name it does not open: the known message, and an exit code that fails a pipeline", async () => {
      const { code, stderr } = await program(words.verify, renamed(sealed));
      expect(code).toBe(kind === "verbs" ? 4 : 1);
      expect(stderr).toContain("unable to decrypt sealed secret: other");
    });

    test("it is encrypted anew: every item another, and still opens", async () => {
      const again = parse(await program(words.reseal, JSON.stringify(sealed)));
      expect(again).toMatchObject({
        apiVersion: "bitnami.com/v1alpha1",
        kind: "SealedSecret",
        metadata: sealed.metadata,
      });
      expect(Object.keys(again.spec.encryptedData)).toEqual(["password"]);
      expect(again.spec.encryptedData["password"]).not.toBe(sealed.spec.encryptedData["password"]);
      expect(await program(words.verify, JSON.stringify(again))).toMatchObject({ code: 0 });
    });

    test("what does not open is not encrypted anew, and nothing is printed", async () => {
      const { code, stdout, stderr } = await program(words.reseal, renamed(sealed));
      expect(code).not.toBe(0);
      expect(stdout).toBe("");
      expect(stderr).toMatch(/unable to rotate secret|cannot re-encrypt secret/);
    });

    test("T01: template.data, labels and the scope outlive the encrypting anew", async () => {
      const { template } = sealed.spec;
      const metadata = {
        ...template.metadata,
        annotations: { "sealedsecrets.bitnami.com/cluster-wide": "true" },
      };
      const templated = {
        ...sealed,
        spec: {
          ...sealed.spec,
          template: { ...template, metadata, data: { url: "https://{{ .password }}@db" } },
        },
      };
      const again = parse(await program(words.reseal, JSON.stringify(templated)));
      expect(again.spec.template).toEqual(templated.spec.template);
      expect(again.metadata).toEqual(sealed.metadata);
      expect((await program(words.verify, renamed(again))).code).not.toBe(0);
    });

    test("a raw item opens in the place that it was sealed for", async () => {
      const flags = ["--raw", "--name", "shop", "--namespace", "default"];
      const { code, stdout } = await program([...words.seal, ...flags], "horse battery");
      expect(code).toBe(0);
      const withItem = { ...sealed, spec: { ...sealed.spec, encryptedData: { raw: stdout.trim() } } };
      expect(await program(words.verify, JSON.stringify(withItem))).toMatchObject({ code: 0 });
      expect((await program(words.verify, renamed(withItem))).code).not.toBe(0);
    });

    test("input without a Secret fails", async () => {
      const { code, stdout, stderr } = await program(words.seal, "");
      expect(code).not.toBe(0);
      expect(stdout).toBe("");
      expect(stderr).toContain("error");
    });
  },
);

describe.each([
  ["a real API server", () => onReal],
  ["the embedded API", () => onEmbedded],
] as const)("as the SealedSecrets project tests it, on %s", (_, subjectOf) => {
  let subject: Subject;
  let site: Site;
  const kubesealed = async (args: readonly string[], object: object = secret): Promise<SealedObject> =>
    parse(await startProgram("stock", site, args, JSON.stringify(object)));

  beforeAll(() => {
    subject = subjectOf();
    site = siteOf(subject);
  });

  test("what a stock kubeseal sealed and re-encrypted through the services becomes the Secret", async () => {
    const name = subject.newName();
    const own = { ...secret, metadata: { ...secret.metadata, name } };
    const again = parse(
      await startProgram("stock", site, ["--re-encrypt"], JSON.stringify(await kubesealed([], own))),
    );
    await subject.kube.create(sealedSecrets, again);
    const made = await subject.secret(name);
    expect(subject.values(made)).toEqual({ password: "correct horse" });
    expect(made.metadata).toMatchObject({ labels: { app: "shop" }, annotations: { note: "kept" } });
  });

  test("`managed`: a Secret deleted after it was taken over is made again, and owned", async () => {
    const name = subject.newName();
    await subject.createSecret(
      name,
      { foo2: "bar2" },
      { annotations: { "sealedsecrets.bitnami.com/managed": "true" } },
    );
    await subject.seal({ name, entries: { foo: "bar" } });
    const taken = await subject.until(name, ({ metadata }) => metadata.ownerReferences?.[0]?.name === name);
    await subject.deleteSecret(name);
    const made = await subject.until(name, ({ metadata }) => metadata.uid !== taken.metadata.uid);
    expect(subject.values(made)).toEqual({ foo: "bar" });
    expect(made.metadata.ownerReferences?.[0]?.name).toBe(name);
  });

  test("`patch`: a Secret without data and labels takes them, and no owner", async () => {
    const name = subject.newName();
    await subject.createSecret(name, {}, { annotations: { "sealedsecrets.bitnami.com/patch": "true" } });
    await subject.seal({ name, entries: { foo: "bar" }, labels: { a: "b" } });
    const made = await subject.until(name, (found) => subject.values(found)["foo"] === "bar");
    expect(made.metadata).toMatchObject({ labels: { a: "b" } });
    expect(made.metadata.ownerReferences).toBeUndefined();
  });

  test("the times of a status: a second later, an update moves lastUpdateTime and not lastTransitionTime", async () => {
    const name = subject.newName();
    await subject.seal({ name, entries: { foo: "1" } });
    const [before] = subject.conditions(await subject.synced(name));
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await subject.seal({ name, entries: { foo: "2" } });
    await subject.until(name, (found) => subject.values(found)["foo"] === "2");
    const [after] = subject.conditions(await subject.synced(name));
    expect(after!.lastTransitionTime).toBe(before!.lastTransitionTime);
    expect(Date.parse(after!.lastUpdateTime)).toBeGreaterThan(Date.parse(before!.lastUpdateTime));
  });

  test("the certificate is the newest key's", async () => {
    const { stdout } = await startProgram("stock", site, ["--fetch-cert"]);
    expect(parseCertificate(stdout).fingerprint).toBe((await subject.certificate()).fingerprint);
  });
});

describe("our program as kubeseal, as the SealedSecrets project tests it", () => {
  const unplaced = JSON.stringify({ ...secret, metadata: { name: "shop" } });
  const link = (args: readonly string[], stdin = ""): Promise<Done> =>
    startProgram("link", siteOf(onReal), args, stdin);

  test("the namespace comes from the kubeconfig's context, and from -n before that", async () => {
    const kubeconfig = join(directory, "elsewhere");
    const text = readFileSync(cluster.kubeconfig, "utf8");
    writeFileSync(kubeconfig, text.replaceAll('"namespace": "default"', '"namespace": "elsewhere"'));
    const site = { ...siteOf(onReal), kubeconfig };
    expect(parse(await startProgram("link", site, [], unplaced)).metadata.namespace).toBe("elsewhere");
    expect(parse(await startProgram("link", site, ["-n", "given"], unplaced)).metadata.namespace).toBe(
      "given",
    );
  });

  test("with --cert it needs no server", async () => {
    const cert = join(directory, "cert.pem");
    writeFileSync(cert, (await onReal.certificate()).pem);
    const offline = ["--server=http://127.0.0.1:1", `--cert=${cert}`];
    expect(parse(await link(offline, JSON.stringify(secret))).metadata.name).toBe("shop");
  });

  test("a certificate that is not there is an error that names it", async () => {
    const { code, stderr } = await link(["--cert=/nonexistent/cert.pem"], JSON.stringify(secret));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error:[^]*no such file or directory/);
  });

  test("--recovery-unseal opens with the key Secrets as kubectl lists them, and with no other", async () => {
    const sealed = JSON.stringify(parse(await link([], JSON.stringify(secret))));
    const keyFile = join(directory, "keys.json");
    const selector = "sealedsecrets.bitnami.com/sealed-secrets-key=active";
    const list = await cluster.kubectl(["get", "secrets", "-n", "kube-system", "-l", selector, "-o", "json"]);
    writeFileSync(keyFile, list);
    const nowhere = { ...siteOf(onReal), kubeconfig: "/nonexistent" };
    const unseal = (...files: string[]): Promise<Done> => {
      const keyFlags = files.map((file) => `--recovery-private-key=${file}`);
      return startProgram("link", nowhere, ["--recovery-unseal", ...keyFlags], sealed);
    };
    const { code, stdout } = await unseal(keyFile);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ kind: "Secret", data: secret.data });

    const foreign = join(directory, "foreign.pem");
    writeFileSync(foreign, (await onReal.newKey()).privateKeyPem);
    for (const files of [[foreign], []]) {
      const refused = await unseal(...files);
      expect(refused).toMatchObject({ code: 1, stdout: "" });
      expect(refused.stderr).toMatch(/^error:.*no key could decrypt secret \(.+\)/);
    }
  });

  test("the versions are printed in the forms that scripts look for", async () => {
    expect(await link(["--version"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^kubeseal version: v\d+\.\d+\.\d+/) as string,
    });
    const controller = await run(process.execPath, ["controller/main.ts", "--version"]);
    expect(controller.stdout).toMatch(/^controller version: v\d+\.\d+\.\d+(\+dirty)?/);
  });
});
