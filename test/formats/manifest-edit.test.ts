import fc from "fast-check";
import { expect, test } from "vitest";
import { Document, isMap } from "yaml";
import { editManifests, type Changes } from "../../formats/manifest-edit.ts";
import { parseYaml, readManifests } from "../../formats/manifest.ts";
import { holds } from "../seed.ts";
import { failureOf } from "./sealing.ts";

const root = { document: 0, path: [] };
const edited = (text: string, changes: Changes, location = root): string =>
  Buffer.from(editManifests(Buffer.from(text), [{ location, changes }])).toString();

/** Before, change, after. */
const rows: Record<string, [string, Changes, string]> = {
  "a value in place, its remark kept": ["a: 1 # one\nb: 'x'\n", { a: "two" }, "a: two # one\nb: 'x'\n"],
  "a quoted text": [`a: "x\\n" # c\n`, { a: "why" }, "a: why # c\n"],
  "a folded text": ["a: >-\n  x\n  y\n\nb: 1\n", { a: "z" }, "a: z\n\nb: 1\n"],
  "a text on the next line": ["a: # why\n  x\nb: 1\n", { a: "z" }, "a: # why\n  z\nb: 1\n"],
  "nothing yet": ["a:\nb: 1\n", { a: "z" }, "a: z\nb: 1\n"],
  "a new key between its neighbours": ["a: 1\nc: 3\n", { b: "x" }, "a: 1\nb: x\nc: 3\n"],
  "a new key at the end where there is no order": [
    "z: 1\na: 3 # c\n# tail\n",
    { b: "x" },
    "z: 1\na: 3 # c\nb: x\n# tail\n",
  ],
  "a new first key, above the next one's comment": [
    "m:\n  # of b\n  b: 1\n",
    { m: { a: "x" } },
    "m:\n  a: x\n  # of b\n  b: 1\n",
  ],
  "no line end at the end": ["a: 1", { b: "x" }, "a: 1\nb: x\n"],
  "a map that is null": ["m: null # c\nn: 1\n", { m: { a: "x" } }, "m: # c\n  a: x\nn: 1\n"],
  "a map that is {}": ["m: {} # c\nn: 1\n", { m: { a: "x" } }, "m: # c\n  a: x\nn: 1\n"],
  "maps that are not there": ["n: 1\n", { m: { k: { a: "x" } } }, "m:\n  k:\n    a: x\nn: 1\n"],
  "flow style": ["m: {a: 1, b: [2]}\n", { m: { a: "x", c: "y" } }, `m: {a: "x", b: [2], "c": "y"}\n`],
  "an empty map in flow style": ["n: {m: {}}\n", { n: { m: { a: "x" } } }, `n: {m: {"a":"x"}}\n`],
  "deeper indents": ["m:\n      a: 1\n", { m: { b: "x" } }, "m:\n      a: 1\n      b: x\n"],
  "texts that look like something else": [
    "a: 1\n",
    { a: "yes", b: "a: b", c: "x\ny" },
    `a: "yes"\nb: "a: b"\nc: "x\\ny"\n`,
  ],
  "line ends of Windows": ["a: 1\r\nb: 2\r\n", { a: "x", c: "z" }, "a: x\r\nb: 2\r\nc: z\r\n"],
};

test.each(Object.keys(rows))("YAML: %s", (name) => {
  const [before, changes, after] = rows[name]!;
  expect(edited(before, changes)).toBe(after);
});

test("the right document, and the right item of a List", () => {
  const text = "# one\na: 1\n---\nkind: List\nitems:\n- a: 1\n- b: 2\n---\na: 1\n";
  expect(edited(text, { a: "x" }, { document: 2, path: [] })).toBe(text.replace(/a: 1\n$/, "a: x\n"));
  const [, , second] = readManifests(Buffer.from(text));
  expect(edited(text, { a: "x" }, second!.location as typeof root)).toBe(
    text.replace("- b: 2", "- a: x\n  b: 2"),
  );
});

test("JSON stays JSON, other objects of the stream as they were", () => {
  const text = '{"b":  1}\n{"m": {"z": "\\u003c"}}\n';
  expect(edited(text, { m: { a: "<" } }, { document: 1, path: [] })).toBe(
    '{"b":  1}\n{\n  "m": {\n    "z": "\\u003c",\n    "a": "\\u003c"\n  }\n}\n',
  );
});

test("T71: __proto__ is a key like others", () => {
  const changes = JSON.parse('{"m": {"__proto__": "x"}}') as Changes;
  expect(edited("m:\n  a: b\n", changes)).toBe("m:\n  __proto__: x\n  a: b\n");
  expect(edited('{"m": {}}', changes)).toContain('"__proto__": "x"');
});

test.each([
  ["an alias", "a: &x 1\nb: *x\n", { a: "y" }],
  ["an anchor", "a: &x 1\n", { a: "y" }],
  ["a tag", "a: !!int 1\n", { a: "y" }],
  ["a list where a map should be", "- a\n", { a: "y" }],
])("%s is refused", async (_, text, changes) => {
  expect(await failureOf(() => edited(text, changes))).toMatchObject({ code: "InvalidInput" });
});

test("generated documents: the wanted values, and every other line as it was", async () => {
  const key = fc.stringMatching(/^[a-z][a-z0-9.-]{0,6}$/);
  const leaf = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom("yes", "1", "null", "", "a: b", "# x", "x\ny\n", " x ", "é"),
  );
  const map = fc.dictionary(key, leaf, { maxKeys: 5 });
  const object = fc.record({
    kind: leaf,
    meta: map,
    spec: fc.record({ items: map, template: fc.option(map, { nil: null }) }),
  });
  const style = fc.record({ flow: fc.boolean(), comments: fc.boolean(), windows: fc.boolean() });
  await holds(
    fc.property(object, map, style, (value, changes, { flow, comments, windows }) => {
      const document = new Document(value, { version: "1.1" });
      const items = document.getIn(["spec", "items"], true);
      if (flow && isMap(items)) items.flow = true;
      if (comments && isMap(items) && items.items.length > 0) items.commentBefore = " before\n the items";
      const plain = `# top\n${document.toString({ lineWidth: 0 })}# end\n`;
      const text =
        windows &&
        !Object.values(value.meta)
          .concat(Object.values(value.spec.items))
          .some((one) => one.includes("\n"))
          ? plain.replaceAll("\n", "\r\n")
          : plain;
      const after = edited(text, { spec: { items: changes } });
      const wanted = structuredClone(value) as { spec: { items: Record<string, string> } };
      Object.assign(wanted.spec.items, changes);
      expect(parseYaml(after)[0]?.toJS()).toEqual(wanted);
      if (flow) return;
      const untouched = text.split("\n").filter((line) => !/^ {4}/.test(line) && !line.includes("items:"));
      const lines = after.split("\n");
      expect(untouched.filter((line) => !lines.includes(line))).toEqual([]);
    }),
    { runs: 300 },
  );
});
