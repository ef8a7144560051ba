import { createHash, type KeyObject } from "node:crypto";

/**
 * The OpenSSH fingerprint of an RSA public key: `SHA256:` and unpadded base64, as `ssh-keygen -l` prints it.
 * @see RFC 4253 section 6.6 (the `ssh-rsa` blob)
 */
export function fingerprintOf(publicKey: KeyObject): string {
  const { n = "", e = "" } = publicKey.export({ format: "jwk" });
  const blob = Buffer.concat([
    sshString(Buffer.from("ssh-rsa")),
    sshInteger(Buffer.from(e, "base64url")),
    sshInteger(Buffer.from(n, "base64url")),
  ]);
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

function sshString(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** A positive integer keeps a leading zero byte where its top bit is set. */
function sshInteger(bytes: Buffer): Buffer {
  return sshString((bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes);
}
