import fc from "fast-check";
import { expect, test } from "vitest";
import {
  readManifests,
  stringField,
  stringMapField,
  toJson,
  toYaml,
  type JsonObject,
} from "../../formats/manifest.ts";
import { holds } from "../seed.ts";
import { failureOf, manifestOf } from "./sealing.ts";

function read(source: string | Uint8Array): JsonObject[] {
  return readManifests(Buffer.from(source)).map(({ object }) => object);
}

test.each([
  ["YAML documents", "a: 1\n---\nb: 2\n", [{ a: 1 }, { b: 2 }]],
  ["empty documents between", "---\n---\n# nothing\n---\na: 1\n---\n", [{ a: 1 }]],
  ["an end marker", "a: 1\n...\n---\nb: 2\n", [{ a: 1 }, { b: 2 }]],
  ["nothing", "", []],
  ["a comment", "# nothing\n", []],
  [
    "JSON objects one after another",
    '{"a":1}{"b":"}{"} \n\t{"c":{"d":[{}]}}\n',
    [{ a: 1 }, { b: "}{" }, { c: { d: [{}] } }],
  ],
  ["JSON objects between separators", '{"a":1}\n---\n{"b":2}\r\n---\r\n', [{ a: 1 }, { b: 2 }]],
  ["JSON after a separator", '---\n{"a":1}\n', [{ a: 1 }]],
  ["JSON with escaped quotes", '{"a":"\\"}\\\\"}{"b":1}', [{ a: '"}\\' }, { b: 1 }]],
  ["a byte order mark", "\ufeffa: 1\n", [{ a: 1 }]],
  ["a byte order mark before JSON", '\ufeff{"a":1}', [{ a: 1 }]],
  ["Windows line ends", "a: |\r\n  x\r\n  y\r\nb: 1\r\n", [{ a: "x\ny\n", b: 1 }]],
  [
    "an anchor and a merge",
    "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n",
    [{ x: { a: 1, b: 2 }, y: { a: 1, b: 3 } }],
  ],
  ["a List", "kind: List\nitems: [{kind: A}, {kind: B}]", [{ kind: "A" }, { kind: "B" }]],
  [
    "a List in a List",
    '{"kind":"List","items":[{"kind":"List","items":[{"kind":"A"}]},{"kind":"B"}]}',
    [{ kind: "A" }, { kind: "B" }],
  ],
  [
    "a typed list",
    "kind: SecretList\napiVersion: v1\nitems: [{data: {}}]",
    [{ kind: "Secret", apiVersion: "v1", data: {} }],
  ],
  ["an empty List", "kind: List\nitems: []", []],
])("reads %s", (_what, text, objects) => {
  expect(read(text)).toEqual(objects);
});

test("keys are text, whatever YAML 1.1 makes of them", () => {
  expect(read("{}\n")).toEqual([{}]);
  const [object] = read("y: a\n1: b\nnull: c\n2024-01-01: d\n0x1: e\non: f\n1e3: g\n");
  expect(object).toEqual({ y: "a", "1": "b", null: "c", "2024-01-01": "d", "0x1": "e", on: "f", "1e3": "g" });
});

const plain = [
  "5432",
  "-7",
  "true",
  "false",
  "12:30:45",
  "2024-01-01",
  "2024-01-01T10:00:00Z",
  "1.5",
  "a b",
  "0.1.2",
  "!x y",
  "_1",
  "0x",
  "0o8",
  "1.2.3.4",
  "1e",
  "e1",
  "0123abc",
  "1e400",
  "0xffffffffffffffffffff",
  "e1.5",
  ".",
];

test.each(plain)("a field %j without quotes is the text as it stands", (text) => {
  const shown = text.replace(/^!x /, "");
  expect(stringField(manifestOf(`k: ${text}`), ["k"])).toBe(shown);
  expect(stringMapField(manifestOf(`m: {k: ${text}}`), ["m"])).toEqual({ k: shown });
});

const changed = [
  "0o17",
  "0O17",
  "0X1F",
  "-0x1f",
  "+_1",
  "1_0.5",
  "1.",
  "y",
  "yes",
  "Yes",
  "no",
  "N",
  "on",
  "off",
  "True",
  "FALSE",
  "0123",
  "1e3",
  "1_000",
  "0x1f",
  "0b11",
]
  .concat(["1.0", ".5", "+1", "-0", ".inf", ".nan", "9007199254740993", "12345678901234567890"])
  .concat(["!!binary aGVsbG8=", "!!set {a, b}", "[a]", "{a: b}"]);

test.each(changed)(
  "a field %j without quotes is refused, since other tools read something else",
  async (text) => {
    const failure = await failureOf(() => stringMapField(manifestOf(`m:\n  k: ${text}\n`), ["m"]));
    expect(failure).toMatchObject({ code: "InvalidSecret", message: "m.k in document 1 is not a string" });
    expect(failure.hint).toContain("quote the value");
  },
);

test("in quotes every text is itself", () => {
  for (const text of [...plain, ...changed]) {
    expect(stringField(manifestOf(`k: ${JSON.stringify(text)}`), ["k"])).toBe(text);
    expect(stringField(manifestOf(`k: '${text}'`), ["k"])).toBe(text);
  }
});

test("null is the empty text, a JSON number is refused, an absent field is undefined", async () => {
  for (const text of ["k:", "k: null", "k: ~", '{"k":null}'])
    expect(stringField(manifestOf(text), ["k"])).toBe("");
  expect(stringField(manifestOf("a: b"), ["k"])).toBeUndefined();
  expect(stringMapField(manifestOf("k: null"), ["k"])).toBeUndefined();
  expect((await failureOf(() => stringField(manifestOf('{"k":5432}'), ["k"]))).code).toBe("InvalidSecret");
  expect((await failureOf(() => stringMapField(manifestOf("k: [a]"), ["k"]))).code).toBe("InvalidSecret");
});

test("a place names the document and the item", () => {
  const manifests = readManifests(
    Buffer.from("a: 1\n---\nkind: List\nitems: [{b: 5432}, {kind: PodList, items: [{c: 1}]}]\n"),
  );
  expect(manifests.map(({ place }) => place)).toEqual([
    "document 1",
    "item 1 of the List in document 2",
    "item 1 of the PodList in item 2 of the List in document 2",
  ]);
  expect(stringField(manifests[1]!, ["b"])).toBe("5432");
  expect(stringField(manifests[2]!, ["c"])).toBe("1");
});

const bomb = ["a: &a [x, x, x, x, x, x, x, x, x]"]
  .concat(
    Array.from("bcdefghi").map(
      (key, index) => `${key}: &${key} [${Array(9).fill(`*${"abcdefgh"[index]}`).join(", ")}]`,
    ),
  )
  .join("\n");

test.each([
  ["a repeated key", "a: 1\nb: 2\na: 3\n"],
  ["a repeated key in JSON", '{"a":{"b":1,"c":{"b":1},"b":2}}'],
  ["a repeated key that YAML 1.1 makes two values of", "data: {yes: a, yes: b}"],
  ["an alias bomb", bomb],
  ["an alias without its anchor", "a: *canary-91ce"],
  ["an alias to itself", "a: &a [*a]"],
  ["5,000 nested lists", `a: ${"[".repeat(5000)}${"]".repeat(5000)}`],
  ["5,000 nested maps", `${"{a: ".repeat(5000)}x${"}".repeat(5000)}`],
  ["5,000 nested blocks", Array.from({ length: 5000 }, (_, at) => `${" ".repeat(at)}a:`).join("\n")],
  ["5,000 nested dashes", `a:\n  ${"- ".repeat(5000)}x`],
  ["5,000 nested JSON objects", `${'{"a":'.repeat(5000)}1${"}".repeat(5000)}`],
  ["100,000 nested JSON lists", `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
  ["bytes that are not UTF-8", Buffer.from([0x61, 0x3a, 0x20, 0xff, 0x0a])],
  ["a cut UTF-8 character", Buffer.from("a: é").subarray(0, 4)],
  ["UTF-16 with its mark", Buffer.from("\ufeffkind: Secret\n", "utf16le")],
  ["UTF-16 without its mark", Buffer.from("kind: Secret\n", "utf16le")],
  ["a Helm condition", "{{- if .Values.on }}\nkind: Secret\n{{- end }}\n"],
  ["a Helm value", "kind: Secret\nmetadata:\n  name: {{ .Values.name }}\n"],
  ["a Helm value in a text", 'kind: Secret\nmetadata:\n  name: {{ include "x" . }}-suffix\n'],
  ["an open quote", "a: 'canary-91ce\nb: 1\n"],
  ["an open JSON text", '{"a":"canary-91ce'],
  ["a bad JSON escape", '{"a":"\\canary-91ce"}'],
  ["words after JSON", '{"a":1} canary-91ce'],
  ["a brace too many", '{"a":1}}'],
  ["YAML after JSON", '{"a":1}\n---\na: canary-91ce\n'],
  ["a tab as indent", "a:\n\tb: canary-91ce\n"],
  ["a bad indent", "a:\n    b: 1\n  c: canary-91ce\n"],
  ["a map as a key", "? {canary-91ce: 1}\n: x\n"],
  ["a scalar", "canary-91ce\n"],
  ["a list", "- canary-91ce\n"],
  ["a JSON list", '["canary-91ce"]'],
  ["an item that is no object", "kind: List\nitems: [canary-91ce]\n"],
  ["a bad document after a good one", "a: 1\n---\nb: 'canary-91ce\n"],
])("refuses %s, quoting nothing", async (_what, source) => {
  const failure = await failureOf(() => read(source));
  expect(failure.code).toBe("InvalidInput");
  expect(failure.message).toMatch(/document \d+|the input/);
  expect(failure.message + failure.hint).not.toContain("canary");
});

test("a broken template says what to do about it", async () => {
  for (const text of ["{{ if x }}\na: 1", "a: {{ .x }}"]) {
    expect((await failureOf(() => read(text))).hint).toContain("helm template");
  }
});

test("T71 keys of the prototype are data, in every form", () => {
  const inputs = [
    '{"__proto__":{"polluted":"1"},"constructor":{"prototype":{"polluted":"1"}},"m":{"__proto__":"x","toString":"w"}}',
    "__proto__: {polluted: '1'}\nconstructor: {prototype: {polluted: '1'}}\nm: {__proto__: x, toString: w}\n",
    "x: &x {__proto__: x, toString: w}\nm: {<<: *x}\n__proto__: {polluted: '1'}\n",
    'kind: List\nitems:\n- {"__proto__": {polluted: "1"}, m: {"__proto__": x, toString: w}}\n',
  ];
  for (const input of inputs) {
    const manifest = manifestOf(input);
    expect(Object.getPrototypeOf(manifest.object)).toBe(Object.prototype);
    expect(Object.keys(manifest.object)).toContain("__proto__");
    expect(manifest.object["polluted"]).toBeUndefined();
    expect(Object.entries(stringMapField(manifest, ["m"])!).sort()).toEqual([
      ["__proto__", "x"],
      ["toString", "w"],
    ]);
    expect(stringField(manifest, ["hasOwnProperty"])).toBeUndefined();
  }
  expect(({} as JsonObject)["polluted"]).toBeUndefined();
});

test("a batch of documents with unquoted numbers is read once, not once each", () => {
  const text = Array.from({ length: 1500 }, (_, at) => `a: ${at}`).join("\n---\n");
  const manifests = readManifests(Buffer.from(text));
  expect(manifests.map((manifest) => stringField(manifest, ["a"]))).toEqual(
    manifests.map((_, at) => String(at)),
  );
});

test("what is written is read back, as YAML and as JSON", async () => {
  const leaf = fc.oneof(
    fc.string({ unit: "grapheme" }),
    fc.constantFrom(
      ...plain,
      ...changed,
      "",
      "~",
      "null",
      "# x",
      "a: b",
      "- ",
      "\n",
      " x ",
      "\u2028",
      "\ufeff",
      "\0",
    ),
    fc.boolean(),
  );
  const key = fc
    .oneof(fc.string({ minLength: 1 }), fc.constantFrom("__proto__", "constructor", "y", "null", "1"))
    // No Kubernetes name, and the one key that YAML 1.1 takes for a merge.
    .filter((name) => name !== "<<");
  const { object } = fc.letrec<{ object: JsonObject; value: unknown }>((tie) => ({
    value: fc.oneof({ maxDepth: 3 }, leaf, fc.array(tie("value"), { maxLength: 3 }), tie("object")),
    object: fc
      .dictionary(key, tie("value"), { minKeys: 1, maxKeys: 4 })
      .map((record) => ({ ...record, kind: "Any" })),
  }));
  await holds(
    fc.property(object, (written) => {
      const expected = JSON.parse(JSON.stringify(written)) as JsonObject;
      expect(read(toYaml(written))).toEqual([expected]);
      expect(read(toJson(written))).toEqual([expected]);
      expect(read(`---\n${toYaml(written)}---\n${toYaml(written)}`)).toEqual([expected, expected]);
    }),
    { runs: 500 },
  );
});

test("text that YAML readers disagree on is written in double quotes, escaped", () => {
  for (const text of [
    " a\nb",
    "\ta\nb",
    " \n",
    "a\r\nb",
    "a\u0085b",
    "\u2028",
    "\ufeffa",
    "\u007f",
    "\ufffe",
    "\u{1fffe}",
  ]) {
    const written = toYaml({ k: text });
    expect(written).toMatch(/^k: "[ -~]+"\n$/);
    expect(read(written)).toEqual([{ k: text }]);
  }
  expect(toYaml({ k: "a\n b\n" })).toBe("k: |\n  a\n   b\n");
  for (const text of ["0o17", "0X1F", "yes", "0123", "1_0", "."])
    expect(toYaml({ k: text })).toBe(`k: "${text}"\n`);
});

test("JSON is written as Go's encoder writes it", () => {
  expect(toJson({ a: "<b>&\u2028\u0085" })).toBe('{\n  "a": "\\u003cb\\u003e\\u0026\\u2028\\u0085"\n}\n');
});

test("any bytes end in manifests or in a coded error", async () => {
  const fragments = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "\n",
    "- ",
    "&a",
    "*a",
    "!!x ",
    '"',
    "'",
    "|\n",
    "?",
    "---\n",
    "%",
    "\t",
    "#",
    "\\",
    "<<",
    "a",
    "\u0085",
    "\0",
  ];
  const text = fc.array(fc.oneof(fc.constantFrom(...fragments), fc.string({ maxLength: 3 })), {
    maxLength: 30,
  });
  await holds(
    fc.asyncProperty(
      fc.oneof(
        text.map((parts) => Buffer.from(parts.join(""))),
        fc.uint8Array({ maxLength: 60 }),
      ),
      async (bytes) => {
        const failure = await failureOf(() => {
          readManifests(bytes);
          throw new TypeError("read");
        }).catch((error: unknown) => error);
        if (failure instanceof Error) expect(failure.message).toBe("read");
        else expect(failure).toMatchObject({ code: "InvalidInput" });
      },
    ),
    { runs: 2000 },
  );
});

test("long lists of keys and long runs of digits and underscores are read in linear time", () => {
  const keys = Array.from({ length: 20_000 }, (_, index) => `  key${index}: v`).join("\n");
  expect(Object.keys(readManifests(Buffer.from(`data:\n${keys}`))[0]!.object["data"] as object)).toHaveLength(
    20_000,
  );
  const run = `-${"_".repeat(200_000)}x1`;
  expect(readManifests(Buffer.from(`a: ${run}\n`))[0]!.object["a"]).toBe(run);
});
