/** What a caller may do after a failure: `never` until the input changes, `backoff` with growing delays. */
export type Retry = "never" | "backoff";

/**
 * Every failure that Sealwright names. The code is also the condition's and event's reason, the metric's label and a
 * heading in `docs/errors.md`. Exit codes: 2 usage, 3 input, 4 no key fits, 5 altered, 6 remote.
 */
export const codes = {
  Usage: { retry: "never", exit: 2 },
  InvalidInput: { retry: "never", exit: 3 },
  InvalidSecret: { retry: "never", exit: 3 },
  InvalidSealedSecret: { retry: "never", exit: 3 },
  InvalidKey: { retry: "never", exit: 3 },
  InvalidCertificate: { retry: "never", exit: 3 },
  CertificateNotPinned: { retry: "never", exit: 3 },
  PlaintextExposed: { retry: "never", exit: 3 },
  FileUnusable: { retry: "never", exit: 3 },
  CannotUnseal: { retry: "never", exit: 4 },
  Altered: { retry: "never", exit: 5 },
  TemplateUnsupported: { retry: "never", exit: 3 },
  NotManaged: { retry: "backoff", exit: 6 },
  ImmutableSecret: { retry: "never", exit: 6 },
  Rejected: { retry: "never", exit: 6 },
  Conflict: { retry: "backoff", exit: 6 },
  NotFound: { retry: "backoff", exit: 6 },
  Expired: { retry: "backoff", exit: 6 },
  Forbidden: { retry: "backoff", exit: 6 },
  Throttled: { retry: "backoff", exit: 6 },
  RemoteUnavailable: { retry: "backoff", exit: 6 },
  NotLeader: { retry: "backoff", exit: 6 },
  Internal: { retry: "backoff", exit: 1 },
} as const satisfies Record<string, { retry: Retry; exit: number }>;

/** A row of {@link codes}. */
export type ErrorCode = keyof typeof codes;

/** What may accompany a {@link SecretError}. */
export interface ErrorDetail {
  /** The next step for the person who reads the message; lower case, no full stop. */
  hint?: string;
  /** The error underneath; kept for debuggers, never printed, since its text may quote the input. */
  cause?: unknown;
  /** Milliseconds that the other side asked us to wait before the next attempt (HTTP Retry-After). */
  retryAfterMs?: number;
}

/**
 * The one error class. The message names the object and the entry, never plaintext, key bytes, a remote body or a caught
 * error's text.
 */
export class SecretError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = "SecretError";
    this.code = code;
    this.hint = detail.hint;
    this.retryAfterMs = detail.retryAfterMs;
  }

  /** Whether trying again without a change of input can help. */
  get retry(): Retry {
    return codes[this.code].retry;
  }
}

/** Gives any thrown value a code; what is not a {@link SecretError} is a defect of ours, and its text is not repeated. */
export function asSecretError(thrown: unknown): SecretError {
  if (thrown instanceof SecretError) return thrown;
  const kind = thrown instanceof Error ? thrown.name : typeof thrown;
  return new SecretError("Internal", `unexpected ${kind}`, { cause: thrown, hint: "please report this" });
}
