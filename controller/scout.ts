import type { ErrorCode, SecretError } from "../formats/errors.ts";

/** Failures of the surroundings, not of one object: what ends one of them most likely ends the others. */
const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "Conflict",
  "NotFound",
  "Expired",
  "Forbidden",
  "Throttled",
  "RemoteUnavailable",
]);

/** How to build a {@link Scout}. */
export interface ScoutOptions {
  /** Time between two tries while anything fails for a passing reason, in ms. */
  everyMs: number;
  /** Calls back after `ms`; the result cancels. */
  after: (ms: number, callback: () => void) => () => void;
  /** Runs the key soon; false if it must not run now or is about to anyway. */
  send: (key: string) => boolean;
}

/**
 * Notices the end of a fault without asking for every key: of all keys that fail for a passing reason, one is sent ahead at
 * a steady pace, whatever its own back-off, and the first that comes back well calls for the rest.
 */
export class Scout {
  readonly #options: ScoutOptions;
  /** The one that failed longest ago comes first, so that each has its turn. */
  readonly #failing = new Set<string>();
  #cancel: (() => void) | undefined;

  constructor(options: ScoutOptions) {
    this.#options = options;
  }

  /** A run of the key failed. */
  failed(key: string, { code }: SecretError): void {
    this.#failing.delete(key);
    if (passing.has(code)) this.#failing.add(key);
    this.#plan();
  }

  /** A run of the key went well. @returns the keys that are worth a run now; each is named once until it fails again */
  succeeded(key: string): readonly string[] {
    if (!this.#failing.delete(key)) return [];
    const others = [...this.#failing];
    this.#failing.clear();
    this.#plan();
    return others;
  }

  /** The key is gone. */
  forget(key: string): void {
    this.#failing.delete(key);
    this.#plan();
  }

  /** Sends nobody any more. */
  stop(): void {
    this.#failing.clear();
    this.#plan();
  }

  #plan(): void {
    if (this.#failing.size === 0) {
      this.#cancel?.();
      this.#cancel = undefined;
    } else {
      this.#cancel ??= this.#options.after(this.#options.everyMs, () => {
        this.#cancel = undefined;
        this.#sendOne();
        this.#plan();
      });
    }
  }

  #sendOne(): void {
    for (const key of this.#failing) if (this.#options.send(key)) return;
  }
}
