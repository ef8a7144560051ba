import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";

/** What SECURITY.md promises, line by line, with the numbers of the tests that show it. */
function promises(): { promise: string; numbers: string[] }[] {
  const rows = readFileSync("SECURITY.md", "utf8").matchAll(/^\| (.+?) +\| ((?:T\d{2}(?:, )?)+) *\|$/gm);
  return [...rows].map(([, promise = "", numbers = ""]) => ({ promise, numbers: numbers.split(", ") }));
}

/** The names that a run prints: first arguments of `test`, `describe` and their variants, and the files that are sessions. */
function testNames(): string[] {
  const files = globSync("test/**/*.ts");
  const sessions = globSync("test/**/scripts/*.txt").map((file) => basename(file));
  return [
    ...files.flatMap((file) => namesIn(ts.createSourceFile(file, text(file), ts.ScriptTarget.Latest))),
    ...sessions,
  ];
}

const text = (file: string): string => readFileSync(file, "utf8");

function namesIn(file: ts.SourceFile): string[] {
  const names: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && ["test", "describe", "it"].includes(rootOf(node.expression, file))) {
      const [first] = node.arguments;
      if (first !== undefined && (ts.isStringLiteralLike(first) || ts.isTemplateExpression(first)))
        names.push(first.getText(file));
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return names;
}

/** `test` in `test.each(rows)("name")`; a skipped one shows nothing. */
function rootOf(node: ts.Expression, file: ts.SourceFile): string {
  if (ts.isPropertyAccessExpression(node))
    return ["skip", "todo"].includes(node.name.getText(file)) ? "" : rootOf(node.expression, file);
  return ts.isCallExpression(node) ? rootOf(node.expression, file) : node.getText(file);
}

test("the table of promises is found", () => expect(promises().length).toBeGreaterThan(20));

test("every promise of SECURITY.md names a test that exists", () => {
  const names = testNames().join("\n");
  const isShown = (number: string): boolean => new RegExp(`\\b${number}(?!\\d)`).test(names);
  const empty = promises().filter(({ numbers }) => !numbers.every(isShown));
  expect(empty.map(({ promise, numbers }) => `${numbers.join(", ")}: ${promise}`)).toEqual([]);
});
