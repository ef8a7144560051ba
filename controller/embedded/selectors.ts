import {
  field,
  isObject,
  metadataOf,
  nameOf,
  namespaceOf,
  objectAt,
  textAt,
  type JsonObject,
} from "./objects.ts";
import type { Resource } from "./resources.ts";
import { badRequest } from "./status.ts";

/** Whether an object is selected. */
export type Selector = (object: JsonObject) => boolean;

const setBased = /^([^\s!=,()]+)\s+(in|notin)\s*\(([^)]*)\)$/;
const equality = /^([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)$/;
const existence = /^(!?)\s*([^\s!=,()]+)$/;
const comparison = /^([^\s!=,()<>]+)\s*([<>])\s*(-?\d+)$/;
const labelValue = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

type Labels = JsonObject | undefined;

function labelOf(labels: Labels, key: string): string | undefined {
  return textAt(labels, key);
}

function checkedValue(value: string): string {
  if (labelValue.test(value) && value.length <= 63) return value;
  throw badRequest(
    `unable to parse requirement: values[0][x]: Invalid value: "${value}": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character`,
  );
}

function requirement(text: string): (labels: Labels) => boolean {
  const set = setBased.exec(text);
  if (set !== null) {
    const [, key = "", operator, list = ""] = set;
    const values = new Set(list.split(",").map((value) => checkedValue(value.trim())));
    return (labels) => {
      const value = labelOf(labels, key);
      return (value !== undefined && values.has(value)) === (operator === "in");
    };
  }
  const pair = equality.exec(text);
  if (pair !== null) {
    const [, key = "", operator, value = ""] = pair;
    checkedValue(value);
    return (labels) => (labelOf(labels, key) === value) === (operator !== "!=");
  }
  const compared = comparison.exec(text);
  if (compared !== null) {
    const [, key = "", operator, bound] = compared;
    return (labels) => {
      const value = Number.parseInt(labelOf(labels, key) ?? "", 10);
      return operator === "<" ? value < Number(bound) : value > Number(bound);
    };
  }
  const exists = existence.exec(text);
  if (exists === null) throw badRequest(`unable to parse requirement: found '${text}'`);
  const [, not, key = ""] = exists;
  return (labels) => (labelOf(labels, key) !== undefined) === (not === "");
}

/** Splits at commas that stand outside of parentheses. */
function splitRequirements(text: string): string[] {
  const parts = text.match(/(?:\([^)]*\)|[^,(])+/g) ?? [];
  return parts.map((part) => part.trim()).filter((part) => part !== "");
}

/** A label selector in its text form: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. @throws 400 */
export function labelSelector(text: string): Selector {
  const requirements = splitRequirements(text).map(requirement);
  return (object) => {
    const labels = objectAt(metadataOf(object), "labels");
    return requirements.every((holds) => holds(labels));
  };
}

const eventFields = [
  "involvedObject.kind",
  "involvedObject.namespace",
  "involvedObject.name",
  "involvedObject.uid",
  "involvedObject.apiVersion",
  "involvedObject.resourceVersion",
  "involvedObject.fieldPath",
  "reason",
  "reportingComponent",
  "source",
  "type",
];

const selectableFields: Record<string, readonly string[]> = {
  "/events": eventFields,
  "/secrets": ["type"],
  "/namespaces": ["status.phase"],
  "/pods": ["spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP"],
};

function selectable(resource: Resource, name: string): (object: JsonObject) => string {
  if (name === "metadata.name") return nameOf;
  if (name === "metadata.namespace") return (object) => namespaceOf(object) ?? "";
  if (!(selectableFields[resource.storage] ?? []).includes(name)) {
    throw badRequest(`field label not supported: ${name}`);
  }
  if (name === "source") return (object) => textAt(objectAt(object, "source"), "component") ?? "";
  const path = name.split(".");
  return (object) => {
    let value: unknown = object;
    for (const key of path) value = isObject(value) ? field(value, key) : undefined;
    return typeof value === "string" ? value : "";
  };
}

/** A field selector in its text form: `metadata.name=a,type!=b`. @throws 400 for a field that cannot be selected */
export function fieldSelector(resource: Resource, text: string): Selector {
  const terms = text
    .split(",")
    .filter((part) => part !== "")
    .map((part) => {
      const match = /^([^=!]+)(==|=|!=)(.*)$/.exec(part);
      if (match === null) throw badRequest(`invalid selector: '${part}'; can't understand '${part}'`);
      const [, name = "", operator, value] = match;
      const read = selectable(resource, name);
      return (object: JsonObject) => (read(object) === value) === (operator !== "!=");
    });
  return (object) => terms.every((holds) => holds(object));
}
