import { SecretError } from "../formats/errors.ts";
import { requireUnexposed } from "../formats/exposure.ts";
import { encryptionLabel, scopeOf, scopes, targetOf, withScope, type Scope } from "../formats/scope.ts";
import { parseSecret, type Metadata, type Secret } from "../formats/secret.ts";
import type { Flags } from "./flags.ts";
import { readInputs, within } from "./input.ts";
import { contextNamespace } from "./kubeconfig.ts";

/** Reads the Secrets of the inputs as they are. */
export async function readBareSecrets(flags: Flags): Promise<Secret[]> {
  const secrets: Secret[] = [];
  for (const { file, manifests } of await readInputs(flags.secretFile ?? [])) {
    secrets.push(...within(file, () => manifests.map(parseSecret)));
  }
  return secrets;
}

/** Reads the Secrets of the inputs, with the flags' name, namespace and scope applied. */
export async function readSecrets(flags: Flags): Promise<Secret[]> {
  const scope = scopeFlag(flags);
  const secrets = await readBareSecrets(flags);
  return secrets.map((secret) => withFlags(secret, flags, scope));
}

/** The scope that the flags ask for. @throws SecretError `Usage` */
export function scopeFlag(flags: Flags): Scope | undefined {
  if (flags.scope === undefined) return undefined;
  const scope = scopes.find((name) => name === flags.scope);
  if (scope !== undefined) return scope;
  throw new SecretError("Usage", "--scope must be one of: strict, namespace-wide, cluster-wide", {
    hint: "strict binds to name and namespace, namespace-wide to the namespace, cluster-wide to nothing",
  });
}

function withFlags(secret: Secret, flags: Flags, scope: Scope | undefined): Secret {
  const metadata: Metadata = { ...secret.metadata };
  if (flags.name !== undefined) metadata.name = flags.name;
  if (scope !== undefined) metadata.annotations = withScope(metadata.annotations, scope);
  if (metadata.annotations !== undefined && Object.keys(metadata.annotations).length === 0)
    delete metadata.annotations;
  if (scopeOf(metadata) !== "cluster-wide") {
    const namespace = namespaceOf(metadata, flags);
    if (namespace !== undefined) metadata.namespace = namespace;
  }
  return { ...secret, metadata };
}

function namespaceOf(metadata: Metadata, flags: Flags): string | undefined {
  const { namespace } = metadata;
  if (namespace === undefined) return flags.namespace ?? contextNamespace(flags);
  if (flags.namespace === undefined || flags.namespace === namespace) return namespace;
  const message = `namespace mismatch: input secret is in namespace "${namespace}" but "${flags.namespace}" was specified`;
  throw new SecretError("InvalidSecret", message, {
    hint: "drop --namespace, or correct metadata.namespace",
  });
}

/**
 * Refuses what must not be sealed, or could not be used once it is.
 * @throws SecretError `InvalidSecret`, `PlaintextExposed`
 */
export function requireSealable(secret: Secret, flags: Flags): void {
  requireEntries(secret, flags);
  if (secret.metadata.name === undefined) {
    throw new SecretError("InvalidSecret", "missing metadata.name in input Secret", {
      hint: "set metadata.name, or pass --name",
    });
  }
  encryptionLabel(targetOf(secret.metadata));
  if (!allowsExposure(flags)) requireUnexposed(secret);
}

/** Refuses a Secret without entries unless the flags allow it. @throws SecretError `InvalidSecret` */
export function requireEntries(secret: Secret, flags: Flags): void {
  if (secret.entries.size > 0 || flags.allowEmptyData === true) return;
  const message =
    "secret.data is empty in input Secret, assuming this is an error and aborting. To work with empty data, --allow-empty-data can be used";
  throw new SecretError("InvalidSecret", message, { hint: "put entries under `data` or `stringData`" });
}

/** Under kubeseal's command line, which has no flag for it, the environment can say it. */
export function allowsExposure(flags: Flags): boolean {
  return flags.allowExposedValues === true || process.env["SEALWRIGHT_ALLOW_EXPOSED_VALUES"] === "true";
}
