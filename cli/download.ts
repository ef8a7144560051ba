import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { SecretError } from "../formats/errors.ts";

const redirects = 10;
const waitMs = 30_000;
/** A certificate chain of any real length fits many times. */
const maxBytes = 1024 * 1024;

/**
 * Fetches a text over HTTP(S), through the proxy that the environment names.
 * @param options `allowPlainHttp` where what comes is checked otherwise
 * @throws SecretError `CertificateNotPinned` for plain HTTP, also behind a redirect, unless allowed; `RemoteUnavailable`
 */
export async function download(address: string, options: { allowPlainHttp: boolean }): Promise<string> {
  let url = URL.parse(address);
  for (let hops = 0; hops <= redirects; hops += 1) {
    if (url === null || !/^https?:$/.test(url.protocol))
      throw unreachable(address, "the address is not a usable URL");
    if (url.protocol === "http:" && !options.allowPlainHttp) {
      throw new SecretError("CertificateNotPinned", "a certificate over plain HTTP could be anyone's", {
        hint: "use https, or say which one to expect: --pin SHA256:..., a pin file, or SEALWRIGHT_CERT_PIN",
      });
    }
    const response = await ask(url);
    const { statusCode = 0, statusMessage = "", headers } = response;
    if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
      response.resume();
      url = URL.parse(headers.location, url.href);
      continue;
    }
    if (statusCode === 200) return readText(response, url);
    response.resume();
    throw unreachable(shown(url), `${statusCode} ${statusMessage}`);
  }
  throw unreachable(address, `more than ${redirects} redirects`);
}

/** Without what may be a password or a token. */
function shown(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

function unreachable(address: string, reason: string, cause?: unknown): SecretError {
  const url = URL.parse(address);
  return new SecretError(
    "RemoteUnavailable",
    `cannot fetch "${url === null ? "--cert" : shown(url)}": ${reason}`,
    {
      cause,
      hint: "check the address, the network and the proxy settings",
    },
  );
}

function ask(url: URL): Promise<IncomingMessage> {
  const isSecure = url.protocol === "https:";
  const proxyEnv = process.env;
  const agent = isSecure ? new HttpsAgent({ proxyEnv }) : new HttpAgent({ proxyEnv });
  const send = isSecure ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = send(url, { agent, signal: AbortSignal.timeout(waitMs) }, resolve);
    request.once("error", (cause) => reject(unreachable(url.href, reasonFor(cause), cause)));
    request.end();
  });
}

function reasonFor(thrown: unknown): string {
  if (thrown instanceof Error && "code" in thrown && typeof thrown.code === "string") return thrown.code;
  return thrown instanceof Error ? thrown.name : "unknown reason";
}

async function readText(response: IncomingMessage, url: URL): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes)
        throw new SecretError("RemoteUnavailable", `"${shown(url)}" is no certificate: it is too long`);
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof SecretError) throw cause;
    throw unreachable(url.href, reasonFor(cause), cause);
  }
  return Buffer.concat(chunks).toString("latin1");
}
