import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";

const layers = ["formats", "providers", "controller", "cli"] as const;
const allowed: Record<(typeof layers)[number], readonly string[]> = {
  formats: ["formats"],
  providers: ["providers", "formats"],
  controller: ["controller", "formats", "providers"],
  cli: ["cli", "formats"],
};
/** The Kubernetes client is behind one file per program, so that nothing else depends on its shape. */
const kubernetesClientImporters = ["controller/kube.ts", "cli/cluster.ts"];
const impureModules = /^node:(fs|http|https|http2|net|tls|os|child_process|dns|process|timers)(\/|$)/;

const sources = globSync(`{${layers.join(",")}}/**/*.ts`).map(normalize);
const importsOf = new Map(sources.map((file) => [file, specifiers(file)]));

function specifiers(file: string): string[] {
  const text = readFileSync(file, "utf8");
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\b[^;]*?\bfrom\s+"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/g,
  );
  return [...found].map((match) => match[1] ?? match[2] ?? "");
}

function targets(file: string): string[] {
  return (importsOf.get(file) ?? [])
    .filter((s) => s.startsWith("."))
    .map((s) => normalize(join(dirname(file), s)));
}

test("imports point only downwards", () => {
  const wrong = sources.flatMap((file) =>
    targets(file)
      .filter(
        (target) => !allowed[file.split("/")[0] as keyof typeof allowed].includes(target.split("/")[0]!),
      )
      .map((target) => `${file} -> ${target}`),
  );
  expect(wrong).toEqual([]);
});

test("formats are pure: no network, files, environment or clock", () => {
  const formats = sources.filter((file) => file.startsWith("formats/"));
  const impure = formats.filter(
    (file) =>
      importsOf.get(file)!.some((s) => impureModules.test(s) || s === "@kubernetes/client-node") ||
      /\bDate\.now\(|\bnew Date\(\)|\bprocess\.(env|argv)|\bfetch\(/.test(readFileSync(file, "utf8")),
  );
  expect(impure).toEqual([]);
});

test("one file per program imports the Kubernetes client", () => {
  const importers = sources.filter((file) =>
    importsOf.get(file)!.some((s) => s.startsWith("@kubernetes/client-node")),
  );
  expect(importers.filter((file) => !kubernetesClientImporters.includes(file))).toEqual([]);
});

test("no import cycles", () => {
  const finished = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
    if (finished.has(file) || path.includes(file)) return;
    for (const target of targets(file)) visit(target, [...path, file]);
    finished.add(file);
  };
  for (const file of sources) visit(file, []);
  expect(cycles).toEqual([]);
});

test("every file can be held in the head: no more than 400 lines, no vague folders", () => {
  expect(sources.filter((file) => readFileSync(file, "utf8").split("\n").length > 401)).toEqual([]);
  expect(
    sources.filter((file) => /(^|\/)(utils?|helpers?|common|types|constants)(\/|\.ts$)/.test(file)),
  ).toEqual([]);
});
