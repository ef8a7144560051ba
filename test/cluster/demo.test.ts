import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, test } from "vitest";

const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("sealwright-demo-"));

test("the demo tells the whole story on the built programs, and leaves nothing behind", () => {
  const before = leftovers();
  const { status, stdout, stderr } = spawnSync(process.execPath, ["dist/sealwright.js", "demo"], {
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const milestones = [
    "$ sealwright seal -f secret.yaml -w shop-database.yaml",
    "shop: add the database credentials",
    "its SealedSecret says: Synced True",
    "edited: healed after",
    "the event says: changed: password (last written by kubectl-edit)",
    "deleted: made again after",
    "$ sealwright reseal -f shop-database.yaml",
    "1 file changed, 2 insertions(+), 2 deletions(-)",
    "the Secret was not written: its content is the same",
    "SealedSecret stolen says: Synced False no key could decrypt secret (password, user)",
    "That was the whole story",
  ];
  const places = milestones.map((milestone) => stdout.indexOf(milestone));
  expect(milestones.filter((_, index) => places[index] === -1)).toEqual([]);
  expect(places).toEqual([...places].sort((left, right) => left - right));
  expect(leftovers()).toEqual(before);
});
