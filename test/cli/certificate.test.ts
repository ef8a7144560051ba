import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { hoursFromNow, newKeyPair } from "../formats/sealing.ts";
import { contents, keyPair, program, secretYaml, workspace } from "./program.ts";

const vectors = JSON.parse(readFileSync("test/vectors/certificates.json", "utf8")) as {
  rsa: { bits: number; certificate: string }[];
  ec: string;
};

/** Serves a certificate over plain HTTP, and counts how often it is asked for. */
async function serve(pem: () => string): Promise<{ url: string; asked: () => number }> {
  let count = 0;
  const server: Server = createServer((request, response) => {
    count += 1;
    const path = request.url?.split("?")[0];
    if (path === "/moved") response.writeHead(302, { location: "/v1/cert.pem" }).end();
    else if (path === "/v1/cert.pem") response.end(pem());
    else response.writeHead(404).end("hunter2-hunter2");
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked: () => count };
}

test("T05: a certificate over plain HTTP is not even asked for without a pin", async () => {
  const { certificatePem, certificate } = await keyPair();
  const { url, asked } = await serve(() => certificatePem);
  const cwd = await workspace({ "secret.yaml": secretYaml() });
  for (const as of ["sealwright", "kubeseal"] as const) {
    const args = [
      ...(as === "sealwright" ? ["seal"] : []),
      "-f",
      "secret.yaml",
      "--cert",
      `${url}/v1/cert.pem`,
    ];
    const refused = await program(args, { cwd, as });
    expect(refused.code).toBe(as === "kubeseal" ? 1 : 3);
    expect(refused.stdout).toBe("");
    expect(refused.stderr).toContain("over plain HTTP");
    expect(refused.stderr).toContain("SEALWRIGHT_CERT_PIN");
    expect(asked()).toBe(0);
  }
  const env = { SEALWRIGHT_CERT_PIN: certificate.fingerprint };
  for (const path of ["/v1/cert.pem", "/moved"]) {
    const sealed = await program(["-f", "secret.yaml", "--cert", `${url}${path}`], {
      cwd,
      as: "kubeseal",
      env,
    });
    expect(sealed).toMatchObject({ code: 0, stderr: "" });
  }
});

test("T05: a swapped certificate is refused by flag, environment and pin file", async () => {
  const { certificatePem, certificate } = await keyPair();
  const swapped = await newKeyPair();
  let served = certificatePem;
  const { url } = await serve(() => served);
  const cwd = await workspace({
    "secret.yaml": secretYaml(),
    "deep/er/secret.yaml": secretYaml(),
    ".git": "",
  });
  const address = `${url}/v1/cert.pem`;
  const pinned = await program(
    ["cert", "--cert", address, "--pin", certificate.fingerprint, "--save-pin", "-w", "got.pem"],
    { cwd },
  );
  expect(pinned).toMatchObject({ code: 0, stdout: "" });
  expect(pinned.stderr).toContain(certificate.fingerprint);
  expect(readFileSync(join(cwd, ".sealwright/pin"), "utf8")).toContain(certificate.fingerprint);
  expect(readFileSync(join(cwd, "got.pem"), "utf8")).toBe(certificatePem);

  const seal = ["seal", "secret.yaml", "--cert", address];
  expect((await program(seal, { cwd: join(cwd, "deep/er") })).code).toBe(0);
  served = swapped.certificatePem;
  const attempts = [
    program(seal, { cwd: join(cwd, "deep/er") }),
    program([...seal, "--pin", certificate.fingerprint], { cwd }),
    program(seal, { cwd, env: { SEALWRIGHT_CERT_PIN: certificate.fingerprint } }),
    program(["cert", "--cert", address, "--save-pin"], { cwd }),
    program(["-f", "secret.yaml", "--cert", address], { cwd, as: "kubeseal" }),
  ];
  const before = contents(cwd);
  for (const refused of await Promise.all(attempts)) {
    expect(refused.code).not.toBe(0);
    expect(refused.stdout).toBe("");
    expect(refused.stderr).toContain(`fingerprint ${swapped.certificate.fingerprint} is not pinned`);
  }
  expect(contents(cwd)).toEqual(before);
});

test("T05: a pin that is no fingerprint is refused, not passed over", async () => {
  const cwd = await workspace({ "secret.yaml": secretYaml(), pins: "# only a remark\nSHA256:short\n" });
  const seal = ["seal", "secret.yaml", "--cert", "cert.pem"];
  for (const more of [
    ["--pin", "bogus"],
    ["--pin-file", "pins"],
    ["--pin-file", "no"],
  ]) {
    expect((await program([...seal, ...more], { cwd })).code).not.toBe(0);
  }
});

test("what the address answers is not repeated", async () => {
  const { url } = await serve(() => "hunter2-hunter2");
  const cwd = await workspace({ "secret.yaml": secretYaml() });
  const pin = ["--pin", (await keyPair()).certificate.fingerprint];
  for (const [path, words] of [
    ["/v1/cert.pem", "does not contain any valid"],
    ["/no", "404 Not Found"],
  ] as const) {
    const failed = await program(
      ["seal", "secret.yaml", "--cert", `${url}${path}?token=hunter2-hunter2`, ...pin],
      { cwd },
    );
    expect(failed.code).not.toBe(0);
    expect(failed.stderr).toContain(words);
    expect(failed.stderr).not.toContain("hunter2");
  }
});

test("T06: an expired, future, weak or non-RSA certificate seals nothing", async () => {
  const expired = await newKeyPair({ notBefore: hoursFromNow(-48), ttlSeconds: 3600 });
  const future = await newKeyPair({ notBefore: hoursFromNow(48) });
  const weak = vectors.rsa.find(({ bits }) => bits === 1024)!.certificate;
  const rows = {
    "failed to encrypt using an expired certificate on ": expired.certificatePem,
    "the certificate is not valid before": future.certificatePem,
    "has 1024 bits; at least 2048 are needed": weak,
    "expected RSA public key but found ec": vectors.ec,
  };
  for (const [words, pem] of Object.entries(rows)) {
    const cwd = await workspace({ "secret.yaml": secretYaml(), "bad.pem": pem, value: "hunter2-hunter2" });
    const raw = ["--raw", "--name", "db", "--namespace", "prod", "--from-file", "value"];
    for (const args of [["-f", "secret.yaml"], raw]) {
      const before = contents(cwd);
      const refused = await program(["seal", ...args, "--cert", "bad.pem", "-w", "out.yaml"], { cwd });
      expect(refused).toMatchObject({ code: 3, stdout: "" });
      expect(refused.stderr).toContain("error[InvalidCertificate]");
      expect(refused.stderr).toContain(words);
      expect(contents(cwd)).toEqual(before);
    }
  }
}, 60_000);

test("cert prints the certificate, and its fingerprint and expiry beside it", async () => {
  const cwd = await workspace();
  const { certificatePem, certificate } = await keyPair();
  const shown = await program(["cert", "--cert", "cert.pem"], { cwd });
  expect(shown).toMatchObject({ code: 0, stdout: certificatePem });
  expect(shown.stderr).toMatch(/^fingerprint SHA256:\S+, 2048 bits, valid until \d{4}-\d\d-\d\d\n$/);
  const alone = await program(["cert", "--cert", `file://${cwd}/cert.pem`, "--fingerprint"], { cwd });
  expect(alone).toEqual({ code: 0, stdout: `${certificate.fingerprint}\n`, stderr: "" });
});
