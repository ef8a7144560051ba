import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { codes } from "../formats/errors.ts";

const page = readFileSync("docs/errors.md", "utf8");
const sections = new Map(
  page
    .split(/^## /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf("\n")), section] as const),
);

test("docs/errors.md has one section for each code, in the table's order", () => {
  expect([...sections.keys()]).toEqual(Object.keys(codes));
  expect(page.match(/^## /gm)).toHaveLength(sections.size);
});

test.each(Object.entries(codes))("docs/errors.md: %s is retried and exits as the table says", (code, row) => {
  const section = sections.get(code) ?? "";
  expect(/^- Retry: `(\w+)`$/m.exec(section)?.[1]).toBe(row.retry);
  expect(Number(/^- Exit code: (\d+)$/m.exec(section)?.[1])).toBe(row.exit);
  expect(section).toMatch(/^- Meaning: \S/m);
  expect(section).toMatch(/^- What to do: \S/m);
});

test("docs/formats/sealed-secret.md has the sections that the code refers to", () => {
  const headings = readFileSync("docs/formats/sealed-secret.md", "utf8").match(/^## .+$/gm);
  expect(headings).toEqual(
    ["One item", "Scope", "The resource", "Keys and certificates", "What sealing strips", "Opening"].map(
      (heading) => `## ${heading}`,
    ),
  );
});
