import { issueKey } from "../../formats/issue-key.ts";
import { parseCertificate } from "../../formats/sealing-certificate.ts";
import { parsePrivateKey } from "../../formats/sealing-key.ts";
import { openMutants } from "./mutations.ts";

const count = 1_000_000;

/** T08 whole: a million mutated ciphertexts are refused, each with a code, in flat memory. The unit tests run a part of it. */
export async function benchMutations(): Promise<void> {
  const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  const issued = await issueKey({ bits: 1024, commonName: "", notBefore: new Date(), ttlSeconds: 86_400 });
  const pair = {
    certificate: parseCertificate(issued.certificatePem),
    key: await parsePrivateKey(issued.privateKeyPem),
  };
  const startedAt = performance.now();
  const { refused, unchanged, grownBytes } = await openMutants(pair, { count, seed });
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(
    `T08, seed ${seed}: ${count} mutants, refused ${JSON.stringify(refused)}, the original again ${unchanged}, ` +
      `memory grown by ${(grownBytes / 2 ** 20).toFixed(1)} MiB, ${seconds.toFixed(0)} s`,
  );
}
