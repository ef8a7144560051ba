import { defineConfig } from "vitest/config";

/** Code in this process, vectors, loopback servers of our own: part of `npm run check`. */
const unit = {
  name: "unit",
  include: ["test/{formats,controller}/**/*.test.ts", "test/*.test.ts"],
  testTimeout: 60_000,
};

/** The built command line as a process: sessions, faults, killed writes. */
const cli = { name: "cli", include: ["test/cli/**/*.test.ts"], testTimeout: 180_000, hookTimeout: 60_000 };

/** Real kubeseal against ours, both ways, on generated input. */
const interop = {
  name: "interop",
  include: ["test/interop/**/*.test.ts"],
  testTimeout: 900_000,
  hookTimeout: 900_000,
};

/** The controller against the embedded API and against a real kube-apiserver with etcd. */
const cluster = {
  name: "cluster",
  include: ["test/cluster/**/*.test.ts"],
  exclude: ["**/*.random.test.ts"],
  testTimeout: 180_000,
  hookTimeout: 900_000,
};

/** Faults and changes at random: `vitest run --project random`. A failing seed is a finding, not a broken change. */
const random = { ...cluster, name: "random", include: ["test/cluster/**/*.random.test.ts"], exclude: [] };

export default defineConfig({
  test: {
    projects: [unit, cli, interop, cluster, random].map((test) => ({
      test: { ...test, pool: "forks" as const },
    })),
    // The machines that run this have two cores; a cluster test starts servers of its own.
    maxWorkers: 2,
  },
});
