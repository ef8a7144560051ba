import { isObject, setField, textAt, type Json, type JsonObject } from "./objects.ts";
import { badRequest, unsupportedMedia } from "./status.ts";

/** How a field is decoded. Messages and maps name what is inside. */
type FieldType =
  | "text"
  | "int"
  | "bool"
  | "bytes"
  | "time"
  | "rawJson"
  | "intOrText"
  | "textMap"
  | "bytesMap"
  | { message: string };

interface Field {
  name: string;
  type: FieldType;
  repeated: boolean;
}

/** `NUMBER NAME[:TYPE][*]`, where `*` repeats and a type beginning with a capital is another message. */
function fields(...rows: string[]): Map<number, Field> {
  return new Map(
    rows.map((row) => {
      const [number, rest = ""] = row.split(" ");
      const [name = "", type = "text"] = rest.replace("*", "").split(":");
      const known = /^[A-Z]/.test(type) ? { message: type } : (type as FieldType);
      return [Number(number), { name, type: known, repeated: rest.endsWith("*") }];
    }),
  );
}

const review = fields("1 metadata:ObjectMeta", "2 spec:ReviewSpec");

/** The messages of the published generated.proto files that clients send us. */
const messages: Record<string, Map<number, Field>> = {
  Unknown: fields("1 typeMeta:TypeMeta", "2 raw:bytes", "3 contentEncoding", "4 contentType"),
  TypeMeta: fields("1 apiVersion", "2 kind"),
  ObjectMeta: fields(
    ...[
      "1 name",
      "2 generateName",
      "3 namespace",
      "4 selfLink",
      "5 uid",
      "6 resourceVersion",
      "7 generation:int",
    ],
    ...["8 creationTimestamp:time", "9 deletionTimestamp:time", "10 deletionGracePeriodSeconds:int"],
    ...[
      "11 labels:textMap",
      "12 annotations:textMap",
      "13 ownerReferences:OwnerReference*",
      "14 finalizers*",
    ],
    "17 managedFields:ManagedFieldsEntry*",
  ),
  OwnerReference: fields(
    ...["1 kind", "3 name", "4 uid", "5 apiVersion", "6 controller:bool", "7 blockOwnerDeletion:bool"],
  ),
  ManagedFieldsEntry: fields(
    ...[
      "1 manager",
      "2 operation",
      "3 apiVersion",
      "4 time:time",
      "6 fieldsType",
      "7 fieldsV1:rawJson",
      "8 subresource",
    ],
  ),
  Secret: fields(
    "1 metadata:ObjectMeta",
    "2 data:bytesMap",
    "3 type",
    "4 stringData:textMap",
    "5 immutable:bool",
  ),
  ConfigMap: fields("1 metadata:ObjectMeta", "2 data:textMap", "3 binaryData:bytesMap", "4 immutable:bool"),
  Namespace: fields("1 metadata:ObjectMeta", "2 spec:NamespaceSpec", "3 status:NamespaceStatus"),
  NamespaceSpec: fields("1 finalizers*"),
  NamespaceStatus: fields("1 phase"),
  ServiceAccount: fields(
    ...["1 metadata:ObjectMeta", "2 secrets:ObjectReference*", "3 imagePullSecrets:LocalObjectReference*"],
    "4 automountServiceAccountToken:bool",
  ),
  ObjectReference: fields(
    ...["1 kind", "2 namespace", "3 name", "4 uid", "5 apiVersion", "6 resourceVersion", "7 fieldPath"],
  ),
  LocalObjectReference: fields("1 name"),
  Event: fields(
    ...[
      "1 metadata:ObjectMeta",
      "2 involvedObject:ObjectReference",
      "3 reason",
      "4 message",
      "5 source:EventSource",
    ],
    ...["6 firstTimestamp:time", "7 lastTimestamp:time", "8 count:int", "9 type", "10 eventTime:time"],
    ...[
      "11 series:EventSeries",
      "12 action",
      "13 related:ObjectReference",
      "14 reportingComponent",
      "15 reportingInstance",
    ],
  ),
  EventSource: fields("1 component", "2 host"),
  EventSeries: fields("1 count:int", "2 lastObservedTime:time"),
  Service: fields("1 metadata:ObjectMeta", "2 spec:ServiceSpec"),
  ServiceSpec: fields(
    ...[
      "1 ports:ServicePort*",
      "2 selector:textMap",
      "3 clusterIP",
      "4 type",
      "5 externalIPs*",
      "7 sessionAffinity",
    ],
    ...["8 loadBalancerIP", "9 loadBalancerSourceRanges*", "10 externalName", "11 externalTrafficPolicy"],
    ...[
      "12 healthCheckNodePort:int",
      "13 publishNotReadyAddresses:bool",
      "17 ipFamilyPolicy",
      "18 clusterIPs*",
    ],
    ...[
      "19 ipFamilies*",
      "20 allocateLoadBalancerNodePorts:bool",
      "21 loadBalancerClass",
      "22 internalTrafficPolicy",
    ],
  ),
  ServicePort: fields(
    "1 name",
    "2 protocol",
    "3 port:int",
    "4 targetPort:intOrText",
    "5 nodePort:int",
    "6 appProtocol",
  ),
  IntOrString: fields("1 type:int", "2 intVal:int", "3 strVal"),
  Lease: fields("1 metadata:ObjectMeta", "2 spec:LeaseSpec"),
  LeaseSpec: fields(
    ...[
      "1 holderIdentity",
      "2 leaseDurationSeconds:int",
      "3 acquireTime:time",
      "4 renewTime:time",
      "5 leaseTransitions:int",
    ],
  ),
  DeleteOptions: fields(
    ...["1 gracePeriodSeconds:int", "2 preconditions:Preconditions", "3 orphanDependents:bool"],
    ...["4 propagationPolicy", "5 dryRun*"],
  ),
  Preconditions: fields("1 uid", "2 resourceVersion"),
  TokenRequest: fields("1 metadata:ObjectMeta", "2 spec:TokenRequestSpec"),
  TokenRequestSpec: fields("1 audiences*", "3 boundObjectRef:ObjectReference", "4 expirationSeconds:int"),
  TokenReview: fields("1 metadata:ObjectMeta", "2 spec:TokenReviewSpec"),
  TokenReviewSpec: fields("1 token", "2 audiences*"),
  SelfSubjectAccessReview: review,
  SelfSubjectRulesReview: review,
  SubjectAccessReview: review,
  ReviewSpec: new Map(),
};

function malformed(): Error {
  return badRequest("the body is not valid protobuf");
}

/** One field on the wire: a number for varints, bytes for the rest. */
type Wire = [number: number, value: bigint | Buffer];

function readWire(bytes: Buffer): Wire[] {
  const found: Wire[] = [];
  let offset = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[offset++];
      if (byte === undefined) throw malformed();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
    throw malformed();
  };
  const take = (size: number): Buffer => {
    if (size < 0 || offset + size > bytes.length) throw malformed();
    return bytes.subarray(offset, (offset += size));
  };
  while (offset < bytes.length) {
    const tag = Number(varint());
    const kind = tag & 7;
    if (kind === 0) found.push([tag >> 3, varint()]);
    else if (kind === 2) found.push([tag >> 3, take(Number(varint()))]);
    else if (kind === 1 || kind === 5) take(kind === 1 ? 8 : 4);
    else throw malformed();
  }
  return found;
}

function time(bytes: Buffer): Json {
  const wire = new Map(readWire(bytes));
  const seconds = Number(wire.get(1) ?? 0);
  const nanos = Number(wire.get(2) ?? 0);
  // Go's zero time stands for an absent one.
  if (seconds === 0 && nanos === 0) return null;
  const text = new Date(seconds * 1000).toISOString().slice(0, 19);
  return nanos === 0 ? `${text}Z` : `${text}.${String(Math.floor(nanos / 1000)).padStart(6, "0")}Z`;
}

function intOrText(bytes: Buffer): Json {
  const value = decode("IntOrString", bytes);
  return value["type"] === 1 ? (value["strVal"] ?? "") : (value["intVal"] ?? 0);
}

function rawJson(bytes: Buffer): Json {
  const raw = new Map(readWire(bytes)).get(1);
  try {
    return JSON.parse(Buffer.isBuffer(raw) ? raw.toString() : "{}") as Json;
  } catch {
    throw malformed();
  }
}

function scalar(type: FieldType, value: bigint | Buffer): Json {
  if (typeof value === "bigint") return type === "bool" ? value !== 0n : Number(value);
  if (typeof type === "object") return decode(type.message, value);
  if (type === "bytes") return value.toString("base64");
  if (type === "time") return time(value);
  if (type === "intOrText") return intOrText(value);
  return type === "rawJson" ? rawJson(value) : value.toString();
}

function mapEntry(type: "textMap" | "bytesMap", bytes: Buffer): [string, Json] {
  const wire = new Map(readWire(bytes));
  const [key, value] = [wire.get(1) ?? Buffer.alloc(0), wire.get(2) ?? Buffer.alloc(0)];
  return [scalar("text", key) as string, scalar(type === "bytesMap" ? "bytes" : "text", value)];
}

function decode(message: string, bytes: Buffer): JsonObject {
  const result: JsonObject = {};
  for (const [number, value] of readWire(bytes)) {
    const found = messages[message]?.get(number);
    if (found === undefined) continue;
    const { name, type, repeated } = found;
    const existing = result[name];
    if ((type === "textMap" || type === "bytesMap") && Buffer.isBuffer(value)) {
      const map = isObject(existing) ? existing : {};
      setField(map, ...mapEntry(type, value));
      result[name] = map;
    } else if (repeated) {
      result[name] = [...(Array.isArray(existing) ? existing : []), scalar(type, value)];
    } else {
      result[name] = scalar(type, value);
    }
  }
  return withoutZeroes(result);
}

/** Proto2 writes Go's empty strings out; JSON leaves them out. */
function withoutZeroes(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== "" && value !== null));
}

const magic = Buffer.from("k8s\0");

/** The object in a body of type application/vnd.kubernetes.protobuf. @throws 400, 415 for kinds that only come as JSON */
export function parseProtobuf(body: Buffer): JsonObject {
  if (!body.subarray(0, 4).equals(magic)) throw malformed();
  const envelope = decode("Unknown", body.subarray(4));
  const typeMeta = isObject(envelope["typeMeta"]) ? envelope["typeMeta"] : {};
  const kind = textAt(typeMeta, "kind") ?? "";
  if (!Object.hasOwn(messages, kind)) throw unsupportedMedia(["application/json", "application/yaml"]);
  const raw = typeof envelope["raw"] === "string" ? envelope["raw"] : "";
  return { ...typeMeta, ...decode(kind, Buffer.from(raw, "base64")) };
}
