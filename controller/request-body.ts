import type { IncomingMessage, ServerResponse } from "node:http";
import { SecretError } from "../formats/errors.ts";

/** A body, or the HTTP status by which it is refused. */
export type Received = { bytes: Uint8Array } | { status: 408 | 413 };

/** Bounds on bodies. */
export interface BodyLimits {
  maxBytes: number;
  /** Bodies received at once. */
  maxBodies: number;
}

/**
 * Receives request bodies, a bounded number of bounded size. Where one more comes, the one that has taken longest is given
 * up: slow senders cannot keep the others out.
 */
export class BodyReceiver {
  readonly #limits: BodyLimits;
  /** What gives up each body under way, oldest first. */
  readonly #giveUp = new Set<() => void>();

  constructor(limits: BodyLimits) {
    this.#limits = limits;
  }

  /**
   * Receives one body.
   * @throws SecretError `RemoteUnavailable` where the connection ends first: there is nobody left to answer
   */
  receive(request: IncomingMessage, response: ServerResponse): Promise<Received> {
    const { maxBytes, maxBodies } = this.#limits;
    if (Number(request.headers["content-length"] ?? 0) > maxBytes) return Promise.resolve({ status: 413 });
    const [oldest] = this.#giveUp;
    if (this.#giveUp.size >= maxBodies) oldest?.();
    if (request.headers.expect !== undefined) response.writeContinue();
    return new Promise((resolve, reject) => {
      const chunks: Uint8Array[] = [];
      let length = 0;
      const settle = (received: Received | undefined): void => {
        this.#giveUp.delete(giveUp);
        request.off("data", take);
        if (received !== undefined) resolve(received);
        else reject(new SecretError("RemoteUnavailable", "the connection ended before the request did"));
      };
      const giveUp = (): void => settle({ status: 408 });
      const take = (chunk: Uint8Array): void => {
        length += chunk.length;
        if (length > maxBytes) settle({ status: 413 });
        else chunks.push(chunk);
      };
      this.#giveUp.add(giveUp);
      request.on("data", take);
      request.once("end", () => settle({ bytes: Buffer.concat(chunks) }));
      request.once("error", () => settle(undefined)).once("close", () => settle(undefined));
    });
  }
}
