import { fileURLToPath } from "node:url";
import { SecretError } from "../formats/errors.ts";
import { parseCertificate, requireUsable, type SealingCertificate } from "../formats/sealing-certificate.ts";
import type { Flags } from "./flags.ts";
import { placed, readInputFile } from "./input.ts";
import { pinsOf, requirePinned } from "./pin.ts";

/**
 * Gets the certificate that the flags name: a file, a URL, or the controller behind the API server. It is held to the pins.
 * @throws SecretError `CertificateNotPinned`, before anything is asked, for plain HTTP without a pin; `InvalidCertificate`;
 * `FileUnusable`; the codes of the way to the cluster
 */
export async function getCertificate(flags: Flags): Promise<SealingCertificate> {
  const pins = await pinsOf(flags);
  const certificate = await readCertificate(flags, pins.length > 0);
  requirePinned(certificate, pins);
  return certificate;
}

/** As {@link getCertificate}, and fit to seal with today. @throws SecretError also `InvalidCertificate` for an expired or weak one */
export async function getUsableCertificate(flags: Flags): Promise<SealingCertificate> {
  const certificate = await getCertificate(flags);
  requireUsable(certificate, new Date());
  return certificate;
}

async function readCertificate(flags: Flags, isPinned: boolean): Promise<SealingCertificate> {
  const source = flags.cert;
  if (source === undefined) {
    const { openController } = await import("./controller-service.ts");
    const controller = await openController(flags, { isPinned });
    return parseCertificate(await controller.certificate());
  }
  // A single letter before the colon is a drive, not a scheme.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(source)?.[1]?.toLowerCase();
  if (scheme === undefined) return fromFile(source);
  if (scheme === "file") return fromFile(pathOf(source));
  if (scheme !== "http" && scheme !== "https") {
    throw new SecretError("Usage", `--cert has the unknown scheme ${scheme}`, {
      hint: "give a file, or a URL that starts with file://, http:// or https://",
    });
  }
  const { download } = await import("./download.ts");
  return parseCertificate(await download(source, { allowPlainHttp: isPinned }));
}

async function fromFile(file: string): Promise<SealingCertificate> {
  const pem = Buffer.from(await readInputFile(file)).toString("latin1");
  try {
    return parseCertificate(pem);
  } catch (error) {
    throw placed(file, error);
  }
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new SecretError("Usage", "--cert is no usable file:// URL", {
      cause,
      hint: "give an absolute path",
    });
  }
}
