import { SecretError } from "../formats/errors.ts";
import { requireUnexposed } from "../formats/exposure.ts";
import { editManifests, type Changes, type Edit } from "../formats/manifest-edit.ts";
import { readManifests, type Manifest } from "../formats/manifest.ts";
import { scopeOf, withScope } from "../formats/scope.ts";
import { seal, templateOf } from "../formats/seal.ts";
import { parseSealedSecret, type SealedSecret } from "../formats/sealed-secret.ts";
import type { SealingCertificate } from "../formats/sealing-certificate.ts";
import type { SealingKey } from "../formats/sealing-key.ts";
import type { Metadata, Secret } from "../formats/secret.ts";
import { getUsableCertificate } from "./certificate.ts";
import type { Flags } from "./flags.ts";
import { placed } from "./input.ts";
import { readPrivateKeys } from "./keys.ts";
import { updateFile } from "./output-file.ts";
import { allowsExposure, readBareSecrets, requireEntries, scopeFlag } from "./secrets.ts";
import { printWarning } from "./terminal.ts";

/** A SealedSecret of the target file. */
interface Target {
  manifest: Manifest;
  sealed: SealedSecret;
}

interface Means {
  flags: Flags;
  certificate: SealingCertificate;
  keys: readonly SealingKey[];
}

/**
 * Seals the entries of Secrets into the SealedSecrets of a file, in place. Name, namespace and scope are the target's; what is
 * in the file already stays as it is, comments and all.
 */
export async function mergeInto(flags: Flags, file: string): Promise<void> {
  const certificate = await getUsableCertificate(flags);
  const keys = await readPrivateKeys(flags);
  const secrets = await readBareSecrets(flags);
  const warnings = new Set<string>();
  await updateFile(file, async (bytes) => {
    try {
      const targets = readTargets(bytes, file);
      const edits: Edit[] = [];
      for (const secret of secrets) {
        requireEntries(secret, flags);
        const target = targetFor(secret, targets, secrets.length);
        differences(secret, target.sealed).forEach((difference) => warnings.add(`${file}: ${difference}`));
        edits.push(await editFor(secret, target, { flags, certificate, keys }));
      }
      return editManifests(bytes ?? Buffer.alloc(0), edits);
    } catch (error) {
      throw placed(file, error);
    }
  });
  warnings.forEach(printWarning);
}

function readTargets(bytes: Uint8Array | undefined, file: string): Target[] {
  if (bytes === undefined) {
    throw new SecretError("FileUnusable", `open ${file}: no such file or directory`, {
      hint: "make the file first, with `sealwright seal -w`",
    });
  }
  return readManifests(bytes).map((manifest) => ({ manifest, sealed: parseSealedSecret(manifest) }));
}

/** The only SealedSecret takes the only Secret, whatever its name; among several, name and namespace decide. */
function targetFor({ metadata }: Secret, targets: readonly Target[], secretCount: number): Target {
  const [only] = targets;
  if (only !== undefined && targets.length === 1 && secretCount === 1) return only;
  const found = targets.filter(
    ({ sealed }) =>
      sealed.metadata.name === metadata.name &&
      (metadata.namespace === undefined || sealed.metadata.namespace === metadata.namespace),
  );
  const [target] = found;
  if (target !== undefined && found.length === 1) return target;
  const many = found.length > 1 ? "more than one SealedSecret" : "no SealedSecret";
  throw new SecretError(
    "InvalidInput",
    `the file has ${many} for Secret ${metadata.name ?? "without a name"}`,
    {
      hint: "give the Secret the name and the namespace of the SealedSecret that it belongs to",
    },
  );
}

function differences(secret: Secret, { template }: SealedSecret): string[] {
  const kept = (field: string, its: string): string =>
    `${field} stays ${its}, though the Secret says otherwise`;
  const [type = "Opaque", immutable = false] = [template.type, template.immutable];
  return [
    ...((secret.type ?? type) === type ? [] : [kept("type", type)]),
    ...((secret.immutable ?? immutable) === immutable ? [] : [kept("immutable", String(immutable))]),
  ];
}

async function editFor(secret: Secret, { manifest, sealed }: Target, means: Means): Promise<Edit> {
  const merged = mergedSecret(secret, sealed, means.flags);
  if (!allowsExposure(means.flags)) requireUnexposed(merged);
  const previous = { sealed, keys: means.keys };
  const { encryptedData } = await seal(withOwnScope(merged, sealed), {
    certificate: means.certificate,
    previous,
  });
  const { labels = {}, annotations = {} } = addedMetadata(secret);
  const metadata = {
    ...(isEmpty(labels) ? {} : { labels }),
    ...(isEmpty(annotations) ? {} : { annotations }),
  };
  const template = isEmpty(metadata) ? {} : { template: { metadata } };
  const changes: Changes = { spec: { encryptedData, ...template } };
  return { location: manifest.location ?? { document: 0, path: [] }, changes };
}

function isEmpty(record: object): boolean {
  return Object.keys(record).length === 0;
}

/** The Secret as it will be: the target's metadata, and over it what the input adds. */
function mergedSecret(secret: Secret, sealed: SealedSecret, flags: Flags): Secret {
  const scope = scopeOf(sealed.metadata);
  const asked = scopeFlag(flags) ?? scopeOf(secret.metadata);
  if (asked !== scope && (flags.scope !== undefined || asked !== "strict")) {
    throw new SecretError(
      "InvalidInput",
      `the SealedSecret is ${scope}, and ${asked} was asked for: the items would open in different places`,
      {
        hint: "drop the scope to follow the file, or seal all entries anew with the other scope",
      },
    );
  }
  const { name, namespace } = sealed.metadata;
  const added = addedMetadata(secret);
  const metadata: Metadata = {
    ...(name === undefined ? {} : { name }),
    ...(namespace === undefined ? {} : { namespace }),
    labels: { ...sealed.template.metadata.labels, ...added.labels },
    annotations: { ...sealed.template.metadata.annotations, ...added.annotations },
  };
  return { ...secret, metadata };
}

function addedMetadata(secret: Secret): Metadata {
  const { labels = {}, annotations } = templateOf(secret).metadata;
  return { labels, annotations: withScope(annotations, "strict") };
}

/** Items are bound to the scope that the SealedSecret itself declares. */
function withOwnScope(secret: Secret, sealed: SealedSecret): Secret {
  return {
    ...secret,
    metadata: { ...secret.metadata, annotations: withScope({}, scopeOf(sealed.metadata)) },
  };
}
