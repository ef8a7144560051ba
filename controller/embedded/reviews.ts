import { randomBytes } from "node:crypto";
import type { Tokens } from "./tokens.ts";
import { metadataOf, nameOf, objectAt, textAt, timestamp, type JsonObject } from "./objects.ts";

/** The one user there is. */
const user = { username: "sealwright-embedded", groups: ["system:masters", "system:authenticated"] };

const everything = {
  resourceRules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }],
  nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["*"] }],
  incomplete: false,
};

function answered(review: JsonObject, status: JsonObject): JsonObject {
  return { ...review, metadata: metadataOf(review), status };
}

/** Answers the review APIs: whoever holds the token may do everything. Undefined if there is no such review. */
export function review(plural: string, body: JsonObject, tokens: Tokens): JsonObject | undefined {
  switch (plural) {
    case "selfsubjectaccessreviews":
    case "subjectaccessreviews":
      return answered(body, { allowed: true });
    case "selfsubjectrulesreviews":
      return answered(body, everything);
    case "tokenreviews": {
      const known = tokens.accepts(textAt(objectAt(body, "spec"), "token") ?? "");
      return answered(
        body,
        known ? { authenticated: true, user } : { user: {}, error: "invalid bearer token" },
      );
    }
    default:
      return undefined;
  }
}

/** Answers `serviceaccounts/NAME/token` with a fresh token. */
export function requestToken(
  account: JsonObject,
  body: JsonObject,
  { tokens, now }: { tokens: Tokens; now: Date },
): JsonObject {
  const spec = objectAt(body, "spec") ?? {};
  const asked = spec["expirationSeconds"];
  const seconds = typeof asked === "number" ? Math.min(Math.max(asked, 600), 2 ** 32) : 3600;
  const token = randomBytes(32).toString("base64url");
  const expires = new Date(now.getTime() + seconds * 1000);
  tokens.add(token, expires);
  return {
    kind: "TokenRequest",
    apiVersion: "authentication.k8s.io/v1",
    metadata: {
      name: nameOf(account),
      namespace: textAt(metadataOf(account), "namespace") ?? "",
      creationTimestamp: timestamp(now),
    },
    spec: { ...spec, expirationSeconds: seconds },
    status: { token, expirationTimestamp: timestamp(expires) },
  };
}
