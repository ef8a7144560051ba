import { createHash, timingSafeEqual } from "node:crypto";

interface Known {
  digest: Buffer;
  expires: Date | undefined;
}

/** The bearer tokens that are accepted, kept as digests and compared in constant time. */
export class Tokens {
  #known: Known[] = [];
  readonly #now: () => Date;

  constructor(now: () => Date) {
    this.#now = now;
  }

  /** Accepts a token until `expires`, or for good. */
  add(token: string, expires?: Date): void {
    this.#known.push({ digest: digest(token), expires });
  }

  /** Whether a token is known and still valid. */
  accepts(token: string): boolean {
    const now = this.#now();
    this.#known = this.#known.filter(({ expires }) => expires === undefined || expires > now);
    const offered = digest(token);
    let found = false;
    for (const known of this.#known) found = timingSafeEqual(known.digest, offered) || found;
    return found;
  }
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
