import type { Command } from "commander";
import type { SealingCertificate } from "../formats/sealing-certificate.ts";
import { getCertificate } from "./certificate.ts";
import { addFlags, flagsOf } from "./command-flags.ts";
import { certificateFlags, clusterFlags, type Flags } from "./flags.ts";
import { writeOutput } from "./output.ts";
import { savePin } from "./pin.ts";
import { printNote, printWarning } from "./terminal.ts";

/** Sets up `sealwright cert`. */
export function define(command: Command): void {
  addFlags(command, ["sealed-secret-file", "fingerprint", "save-pin", ...certificateFlags, ...clusterFlags]);
  command.addHelpText(
    "after",
    [
      "",
      "A pin file lists the fingerprints that a repository trusts, one a line. Commit it: from then on every command that",
      "seals refuses another certificate. A certificate over plain http:// is taken only with a pin. Under the name kubeseal,",
      "which has no such flags, the pin file and SEALWRIGHT_CERT_PIN=SHA256:... hold too.",
      "",
      "  sealwright cert -w cluster.pem --save-pin",
      "  sealwright cert --cert http://127.0.0.1:8080/v1/cert.pem --pin SHA256:...",
    ].join("\n"),
  );
  command.action(async () => certCommand(flagsOf(command)));
}

/** Prints the certificate, and says on stderr whose it is and how long it holds. */
async function certCommand(flags: Flags): Promise<void> {
  const certificate = await getCertificate(flags);
  const saved = flags.savePin === true ? await savePin(certificate, flags) : undefined;
  await writeOutput(flags, flags.fingerprint === true ? `${certificate.fingerprint}\n` : certificate.pem);
  if (flags.fingerprint !== true) describe(certificate);
  if (saved !== undefined) printNote(`pinned in ${saved}`);
}

function describe(certificate: SealingCertificate): void {
  const until = certificate.notAfter.toISOString().slice(0, 10);
  printNote(`fingerprint ${certificate.fingerprint}, ${certificate.bits} bits, valid until ${until}`);
  if (certificate.notAfter < new Date())
    printWarning("the certificate has expired; nothing can be sealed with it");
}
