import { Document, visit, type Scalar, type ScalarTag, type Tags } from "yaml";

/**
 * Every text that Go takes for a number; YAML 1.1 has other ones, `.` and `12:30` among them. Longer ones than 400 characters
 * count as text: the expression would take its time over them.
 */
const goNumber = {
  tag: "tag:yaml.org,2002:int",
  default: true,
  test: /^(?=[-+.\d])(?=.{1,400}$)(?:(?=.*\d)[-+]?_*(?:0_*(?:[xX][\da-fA-F_]+|[bB][01_]+|[oO][0-7_]+)|(?:[\d_]+(?:\.[\d_]*)?|\.[\d_]+)(?:[eE][-+]?[\d_]+)?)|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/,
  identify: (value: unknown) => typeof value === "number",
  resolve(text: string) {
    const value = Number(text.replace(/[_+]/g, "").replace(/^0(?=[0-7]+$)/, "0o"));
    // What overflows Go's numbers stays text.
    const limit = /[xXbBoO]/.test(text) ? 2 ** 64 : Infinity;
    return Math.abs(value) >= limit ? text : value;
  },
  stringify: ({ source, value }: Scalar) => source ?? String(value),
} as const satisfies ScalarTag;

/** YAML 1.1 as Kubernetes' reader has it: Go's numbers; dates are text, a set is a map. */
export function kubernetesTags(tags: Tags): Tags {
  const foreign = /:(int|float|timestamp|set|omap|pairs)$/;
  return tags.filter((tag) => typeof tag !== "object" || !foreign.test(tag.tag)).concat(goNumber);
}

/** Characters that one YAML reader or another drops, folds or refuses where they stand unescaped. */
const fragile = /[[\p{Cc}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}\ufeff]--[\n\t]]/v;

/** Writes an object as a YAML document in the style of Kubernetes tools: sorted keys, long text on one line. */
export function stringifyYaml(object: object): string {
  const document = new Document(object, {
    version: "1.1",
    customTags: (tags: Tags) => tags.concat(goNumber),
    sortMapEntries: true,
    aliasDuplicateObjects: false,
  });
  visit(document, {
    Scalar: (_key, node) => {
      if (typeof node.value !== "string") return;
      // A block that begins with white space is read in more than one way.
      if (fragile.test(node.value) || /^[ \t\n]/.test(node.value)) node.type = "QUOTE_DOUBLE";
    },
  });
  const text = document.toString({
    lineWidth: 0,
    indentSeq: false,
    doubleQuotedMinMultiLineLength: Infinity,
  });
  return text.replace(new RegExp(fragile, "gv"), escapeInYaml);
}

function escapeInYaml(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code > 0xffff
    ? `\\U${code.toString(16).padStart(8, "0")}`
    : `\\u${code.toString(16).padStart(4, "0")}`;
}
